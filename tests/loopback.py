"""A chat endpoint of this machine that answers as it is told to, for tests."""

import contextlib
import http.server
import json
import threading
import time


def chat(text, **more) -> bytes:
  """The body of a good answer."""
  return json.dumps({"choices": [{"message": {"content": text}} | more]}).encode()


@contextlib.contextmanager
def serve(answer):
  """A server of 127.0.0.1: answer(handler, request) writes the answer.

  Args:
    answer: a function, or bytes that are sent with status 200.

  Yields:
    (url, requests): the URL of the API, and a list of (headers, body) that
    grows.
  """
  requests, over = [], threading.Event()

  class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self):  # pylint: disable=invalid-name
      """Answers."""
      body = self.rfile.read(int(self.headers["Content-Length"]))
      requests.append((dict(self.headers), json.loads(body)))
      with contextlib.suppress(OSError):  # the client may have hung up
        if callable(answer):
          answer(self, over)
        else:
          send(self, 200, answer)

    def log_message(self, *args):
      """Says nothing."""

  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  server.daemon_threads = True
  thread = threading.Thread(target=server.serve_forever, args=(0.01,))
  thread.start()
  try:
    yield f"http://127.0.0.1:{server.server_port}/v1", requests
  finally:
    over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def send(handler, status, body=b"", **headers):
  """A whole answer."""
  handler.send_response(status)
  for name, value in headers.items():
    handler.send_header(name.replace("_", "-"), value)
  handler.send_header("Content-Length", str(len(body)))
  handler.end_headers()
  handler.wfile.write(body)


def never(handler, over):
  """Answers nothing, and holds the connection."""
  del handler
  over.wait()


def drip(head):
  """Sends `head` and then a byte every 20 ms, without an end."""
  def answer(handler, over):
    handler.wfile.write(head)
    while not over.is_set():
      handler.wfile.write(b" ")
      handler.wfile.flush()
      time.sleep(0.02)

  return answer
