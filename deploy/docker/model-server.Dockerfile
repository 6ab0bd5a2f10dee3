# Our model server, for where the official tensorflow/serving image is not wanted. Build it from the project's root:
#   docker build -f deploy/docker/model-server.Dockerfile -t keras-front-door/model-server:0.1.0 .
# It takes TensorFlow Serving's flags as the container's arguments, and serves REST on $PORT.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
COPY deploy/docker/model-server.lock /tmp/model-server.lock
RUN python -m venv --without-pip /opt/venv
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes -r /tmp/model-server.lock

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
ENV PORT=8501
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY model_config model_config
COPY serving serving
COPY deploy/docker/healthcheck.py healthcheck.py
# Compiles what it imports, a part of TensorFlow; as nobody, it could not be written.
RUN python -c "import serving.__main__, serving.server, serving.grpc_api, serving.grpc_server"
USER 65534:65534
EXPOSE 8500 8501
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "healthcheck.py", "/v1/models/any"]
ENTRYPOINT ["sh", "-c", "exec python -m serving --rest_api_port=$PORT --port=8500 \"$@\"", "model-server"]
CMD ["--model_config_file=/models/models.config"]
