# One file, one image per part: --target transformer (the default, last below) or --target aggregator.
#
#   docker build -t tidegauge-transformer:0.1.0 .
#   docker build --target aggregator -t tidegauge-aggregator:0.1.0 .
#
# BASE: any Debian or Ubuntu image with Python 3.11 or 3.12 as python3, and its venv module.
ARG BASE=python:3.11-slim

FROM ${BASE} AS runtime
ENV PATH=/opt/tidegauge/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 tidegauge \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tidegauge

FROM ${BASE} AS source
WORKDIR /src
RUN python3 -m venv /opt/tidegauge
COPY . .

FROM source AS transformer-packages
RUN /opt/tidegauge/bin/pip install --no-cache-dir --constraint constraints.txt ".[transformer]"

FROM source AS aggregator-packages
RUN /opt/tidegauge/bin/pip install --no-cache-dir --constraint constraints.txt ".[aggregator]"

# Spark runs on Java 17 or 21; Debian's default JRE is the one or the other (12: 17, 13: 21). procps: Spark's scripts
# call ps. Kafka is read by Python: none of Spark's connector jars are needed.
FROM runtime AS aggregator
ARG JRE=default-jre-headless
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ${JRE} procps \
    && rm -rf /var/lib/apt/lists/*
COPY --from=aggregator-packages /opt/tidegauge /opt/tidegauge
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["python", "-m", "aggregator"]

FROM runtime AS transformer
COPY --from=transformer-packages /opt/tidegauge /opt/tidegauge
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["python", "-m", "transformer"]
