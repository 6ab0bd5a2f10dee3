# Everything in one container for one small machine or dyno: supervisor, router, embedded model server.
#   docker build -f deploy/docker/single.Dockerfile -t keras-front-door/single:0.1.0 .
# The digits are trained while it is built, so that it starts within the minute that platforms allow.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
COPY deploy/docker/single.lock /tmp/single.lock
RUN python -m venv --without-pip /opt/venv
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes -r /tmp/single.lock

FROM ${PYTHON_IMAGE} AS versions
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY . .
RUN /opt/venv/bin/python scripts/train_digits.py

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
# What an image may take is what 512 MB leave beside TensorFlow.
ENV WORKERS=1 DECODE_CONCURRENCY=1 MAX_PIXELS=13000000
ENV HOST=0.0.0.0 PORT=5000 STATE_DIR=/tmp/state LOGS_DIR=/tmp/logs
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY . .
COPY --from=versions /app/saved_models saved_models
COPY deploy/docker/healthcheck.py healthcheck.py
# Compiles what it imports, a part of TensorFlow; as nobody, it could not be written.
RUN python -c "import auto_cmd, flask_server.__main__, serving.__main__, serving.server, prometheus_client.multiprocess; from PIL import Image; Image.init()"
USER 65534:65534
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s CMD ["python", "healthcheck.py", "/livez"]
CMD ["python", "auto_cmd.py", "--only", "digits", "--model-server", "embedded"]
