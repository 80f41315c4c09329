# The operator's image. Without an engine, `make image` makes the same of the same parts
# (e2e/image/contents.py); tests/unit/e2e_cluster/test_image.py compares the two.
FROM debian:bookworm-slim AS system
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/*

FROM system AS libraries
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip
COPY requirements/run.lock /run.lock
RUN pip install --require-hashes --only-binary=:all: --no-deps --target /opt/taskpass/lib -r /run.lock

FROM system
COPY --from=libraries /opt/taskpass/lib /opt/taskpass/lib
COPY --chmod=755 e2e/image/taskpass /usr/local/bin/taskpass
COPY operator/taskpass /opt/taskpass/app/taskpass
ENV PATH=/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/taskpass/app:/opt/taskpass/lib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
ENTRYPOINT ["taskpass"]
