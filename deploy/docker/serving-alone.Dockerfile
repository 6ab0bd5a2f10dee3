# TensorFlow Serving alone, for Heroku: no router; clients send encoded photos to the `image_bytes` signature, whose
# preprocessing is inside the SavedModel. Put a version under saved_models/ first, then build from the project's root:
#   docker build -f deploy/docker/serving-alone.Dockerfile --build-arg SERVABLE=mobilenet_v2 -t serving-alone .
FROM tensorflow/serving:2.19.1
ARG SERVABLE=digits
ENV SERVABLE=${SERVABLE} PORT=8501
COPY saved_models/${SERVABLE} /models/${SERVABLE}
USER 65534:65534
# The image has no curl; its bash can speak HTTP.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET /v1/models/%s HTTP/1.0\\r\\n\\r\\n' $SERVABLE >&3 && grep -q AVAILABLE <&3"]
ENTRYPOINT []
CMD exec tensorflow_model_server --rest_api_port=$PORT --port=0 --model_name=$SERVABLE --model_base_path=/models/$SERVABLE
