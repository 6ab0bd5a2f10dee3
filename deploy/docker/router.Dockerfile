# The router: no TensorFlow, no Keras. Build it from the project's root:
#   docker build -f deploy/docker/router.Dockerfile -t keras-front-door/router:0.1.0 .
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
COPY deploy/docker/router.lock /tmp/router.lock
RUN python -m venv --without-pip /opt/venv
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes -r /tmp/router.lock

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
ENV HOST=0.0.0.0 PORT=5000 MODELS_FILE=/app/models.toml STATE_DIR=/tmp/state
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY imagenet_class_index.json models.toml ./
COPY model_config model_config
COPY flask_server flask_server
COPY test_images test_images
COPY deploy/docker/healthcheck.py healthcheck.py
# Compiles what it imports; as nobody, it could not be written.
RUN python -c "import flask_server.__main__, prometheus_client.multiprocess; from PIL import Image; Image.init()"
USER 65534:65534
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "healthcheck.py", "/livez"]
CMD ["python", "-m", "flask_server"]
