# One image, one process, one volume. Any base with Python 3.11 or newer and its venv module will do.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# Uid 10001 cannot write bytecode, so it is compiled here. By default bytecode is checked against the time stamps of its
# sources, which image layers may change; unchecked-hash leaves that check out. pip is not needed at run time.
RUN python -m venv /opt/scheduler \
 && /opt/scheduler/bin/pip install --no-cache-dir --no-compile --quiet '.[postgres]' \
 && /opt/scheduler/bin/pip uninstall --quiet --yes setuptools pip \
 && /opt/scheduler/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/scheduler/lib

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="scheduler" \
      org.opencontainers.image.description="Webhooks on schedule, and what became of each" \
      org.opencontainers.image.version="1.0.0" \
      org.opencontainers.image.licenses="MIT"
# Slim Python images lack the bytecode of the standard library: each start and health check would compile it again.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x '/(site-packages|tests?|idle_test)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/scheduler /opt/scheduler
# A numeric user: Kubernetes can verify runAsNonRoot without looking up a name.
RUN install -d -m 0700 -o 10001 -g 10001 /data
ENV PATH=/opt/scheduler/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SCHEDULER_DATA_DIR=/data \
    SCHEDULER_SERVER__HOST=0.0.0.0
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["scheduler", "healthcheck"]
ENTRYPOINT ["scheduler"]
CMD ["serve"]
