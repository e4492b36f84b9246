FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
# The user that runs it cannot write there: what is not compiled now is compiled anew at each start.
ENV UV_COMPILE_BYTECODE=1
RUN uv sync --locked --no-dev --no-install-project
COPY app app
COPY templates templates
COPY static static
COPY migrations migrations
RUN uv sync --locked --no-dev --no-editable

FROM python:3.12-slim
# The second folder holds the socket of a sandbox in a container of its own: its user makes it there, this group may connect.
RUN groupadd --gid 10001 aristobot && useradd --create-home --uid 10001 --gid 10001 aristobot \
    && install -d -o aristobot -g aristobot -m 0700 /data \
    && install -d -o 65533 -g 10001 -m 0750 /run/aristobot-sandbox
COPY --from=build /src/.venv /src/.venv
ENV PATH=/src/.venv/bin:$PATH DATA_DIR=/data HOST=0.0.0.0 PORT=8000 PYTHONUNBUFFERED=1
USER aristobot
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["aristobot", "serve"]
