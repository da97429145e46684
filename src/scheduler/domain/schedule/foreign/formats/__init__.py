"""A recogniser for each format of other schedulers; each says what means the same here.

``quartz``, ``eventbridge``, ``jenkins``, ``systemd`` and ``crontab`` are schedulers; ``iso8601`` and ``rrule`` are
standards, ``keywords`` calls in code, ``plain_words`` sentences.
"""
