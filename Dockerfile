# podgate in one image: `podgate operator`, `podgate agent` and every other verb.
#
# Nothing is compiled: every wheel is that of uv.lock, by hash. At run time neither a shell nor a writable root is
# needed. Both base images must be the same Debian with the same Python: the environment made in the first is
# copied to the second.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
# For an index or an authority of your own; unset, PyPI's.
ARG PIP_INDEX_URL
ARG PIP_CERT
ARG UV_DEFAULT_INDEX
ARG SSL_CERT_FILE
ENV UV_NO_PROGRESS=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY hack/pinned.py hack/
COPY pyproject.toml uv.lock ./
# Without `kubernetes`, 130 MB: only the plug-ins of a kubeconfig need it, and a pod has a token. Without
# pygments, 10 MB, and markdown-it-py: rich needs them for source code and Markdown, and podgate prints tables.
RUN python3 -m venv /build \
    && python3 hack/pinned.py uv > /build/uv.txt \
    && /build/bin/pip install --quiet --only-binary :all: --require-hashes --requirement /build/uv.txt \
    && /build/bin/uv export --quiet --frozen --only-group build --output-file /build/build.txt \
    && /build/bin/uv export --quiet --frozen --no-dev --extra cluster --prune kubernetes --prune pygments \
        --prune markdown-it-py --no-emit-project --output-file /build/run.txt \
    && python3 -m venv --without-pip /opt/podgate \
    && /build/bin/uv pip install --python /build --only-binary :all: --require-hashes --requirement /build/build.txt \
    && /build/bin/uv pip install --python /opt/podgate --only-binary :all: --require-hashes --no-deps \
        --compile-bytecode --requirement /build/run.txt
COPY README.md LICENSE ./
COPY controller controller/
RUN /build/bin/python -m hatchling build --target wheel --directory /build/dist \
    && /build/bin/uv pip install --python /opt/podgate --no-deps --offline --compile-bytecode /build/dist/*.whl

FROM ${BASE} AS root
# tini collects what a killed probe or exec leaves behind. Nobody else would: each would keep its process id, and a
# pod has only so many, which the agent needs for the tools that programme the rules.
# iptables brings both binaries, iptables-nft and iptables-legacy; podgate calls them by these names.
# Not pinned: a Debian release changes them for security only, and drops the version before.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends conntrack ipset iptables tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/podgate /opt/podgate
COPY hack/image/strip.sh /
RUN /strip.sh && rm /strip.sh

# One layer: what was taken out would still be carried in the layers of the base.
FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="podgate" \
      org.opencontainers.image.description="Kubernetes NetworkPolicy compiled to iptables and ipset" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# hadolint ignore=DL3067
COPY --from=root / /
ENV PATH=/opt/podgate/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The operator's user. The agent's DaemonSet asks for root, with two capabilities.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "/opt/podgate/bin/podgate"]
CMD ["--help"]
