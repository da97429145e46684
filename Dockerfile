# syntax=docker/dockerfile:1
# One image, one process, one volume. Any base with Python 3.11 or newer and its venv module will do.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/scheduler \
 && /opt/scheduler/bin/pip install --no-cache-dir --quiet . \
 && /opt/scheduler/bin/python -m compileall -q /opt/scheduler/lib

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="scheduler" \
      org.opencontainers.image.description="Webhooks on schedule, and what became of each" \
      org.opencontainers.image.version="1.0.0" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/scheduler /opt/scheduler
# A number, so that an orchestrator can see without a name service that it is not root.
RUN mkdir /data && chown 10001:10001 /data
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
