# The root is laid out by `make image-root`; the same image can be made without Docker from it.
FROM scratch
COPY target/image/ /
USER 10001:10001
WORKDIR /data
ENV VECTORSPHERE_DATA_DIR=/data
ENTRYPOINT ["/usr/bin/vectorsphere"]
