# Facet in a container. The default target serves with OpenVINO; `--target tensorflow` serves with TensorFlow, the reference.
# Any base will do that has Python 3.11 to 3.13 as `python`, with pip and venv, and glibc 2.28 or newer (on arm64, 2.35).
# The official one stands in a line of its own, where Dependabot reads it: it looks into no argument.
ARG BASE=official
FROM python:3.11-slim-bookworm AS official

# Build: packages into an environment of their own, and the code into a tree that is laid over it ---------------------------

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv tools && python -m venv --without-pip /opt/facet/venv

FROM build AS openvino-packages
# `traces` brings what sends spans, too, `remote` what reads a model store out of a bucket, and `many` what looks at many photos on
# many machines; "traces remote" is the first two.
ARG LOCK=serve
COPY requirements/serve.txt requirements/many.txt requirements/remote.txt requirements/traces.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    for lock in ${LOCK}; do set -- "$@" --requirement "${lock}.txt"; done \
    && python -m pip --python /opt/facet/venv/bin/python install --no-deps --require-hashes "$@"
# Networks run on the CPU and are SavedModels, or variants in OpenVINO's format: what runs them on Intel's GPUs and NPUs, on several
# devices or from C, and reads other formats, stays out; so does what tests NumPy, what C, C++ and Fortran are compiled with, and
# what checkers of types read.
RUN find /opt/facet/venv/lib \( -path '*/numpy/*/tests/*' -o -path '*/numpy/f2py/*' -o -path '*/numpy/_core/include/*' \
        -o -path '*/openvino/include/*' -o -name '*.pyi' -o -path '*/openvino/libs/*' \
        -regex '.*\(_\(auto_batch\|gpu\|hetero\|npu\)_plugin\|_c\.so\|/cache\.json\|_\(gguf\|jax\|onnx\|paddle\|pytorch\|tensorflow_lite\)_frontend\).*' \) \
        -delete

FROM build AS tensorflow-packages
COPY requirements/tensorflow.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/facet/venv/bin/python install --no-deps --require-hashes --requirement tensorflow.txt

FROM build AS code
COPY requirements/build.txt ./
RUN --mount=type=cache,target=/root/.cache/pip tools/bin/python -m pip install --no-deps --require-hashes --requirement build.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY service/ service/
RUN tools/bin/python -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir wheels . \
    && python -m pip --python /opt/facet/venv/bin/python install --no-index --no-deps --root /code wheels/*.whl

# What both images share ---------------------------------------------------------------------------------------------------

FROM ${BASE} AS image
ENV PATH=/opt/facet/venv/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FACET_MODEL_STORE=/opt/facet/model_store
WORKDIR /opt/facet
# The official images bring Python's own library uncompiled, and whoever may not write would compile it at every start. What no
# server imports is left out; some of the tests are no Python on purpose.
RUN python -c "import compileall, re, sysconfig; \
    unused = re.compile('/(dist-packages|ensurepip|idlelib|lib2to3|site-packages|test|tests|tkinter|turtledemo)/'); \
    raise SystemExit(not compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=1, rx=unused))"
COPY model_store/ model_store/
# Of no entry in /etc/passwd and owner of no file: the numbers are all that a cluster needs in order to check them.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# It starts in two seconds, on a CPU of its own; on one that it shares, a minute is no illness.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "service.server.healthcheck"]
ENTRYPOINT ["facet"]
CMD ["serve"]

FROM image AS tensorflow
ENV FACET_RUNTIME=tensorflow
COPY --from=tensorflow-packages /opt/facet/venv/ venv/
COPY --from=code /code/opt/facet/venv/ venv/
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Facet" \
      org.opencontainers.image.description="The age, gender and race of every face in a photo, with honest uncertainty; on TensorFlow." \
      org.opencontainers.image.source="https://github.com/facet-project/facet" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-UTKFace" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM image AS runtime
COPY --from=openvino-packages /opt/facet/venv/ venv/
COPY --from=code /code/opt/facet/venv/ venv/
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Facet" \
      org.opencontainers.image.description="The age, gender and race of every face in a photo, with honest uncertainty." \
      org.opencontainers.image.source="https://github.com/facet-project/facet" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-UTKFace" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
