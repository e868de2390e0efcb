"""One POST over HTTP whose time-out is that of the whole, not of a read.

A socket's own time-out begins anew with each byte, so a server that drips
holds a caller for ever; looking up a name has none at all. Here a thread does
the work, and whoever waits for it leaves when the time is over and closes the
connection, which ends the thread as well. Redirects are not followed: the key
goes where the user said and nowhere else.
"""

from collections.abc import Mapping
import contextlib
import dataclasses
import http.client
import socket
import ssl
import threading
import urllib.parse

MOST = 2**18  # bytes of an answer


class Failed(RuntimeError):
  """An endpoint gave no answer that can be used; one line says why."""


class TooSlow(Failed):
  """It did not answer within the time."""


@dataclasses.dataclass(frozen=True)
class Answer:
  """What a server answered.

  Attributes:
    status: of HTTP.
    headers: by their names in small letters.
    body: at most MOST + 1 bytes.
  """

  status: int
  headers: Mapping[str, str]
  body: bytes


def post(url: str, body: bytes, headers: Mapping[str, str],
         seconds: float) -> Answer:
  """Sends a body and waits for the answer.

  Args:
    url: http:// or https://.
    body: to send.
    headers: of the request.
    seconds: that all of it may take.

  Raises:
    Failed: no answer within the time, no server, or more than MOST bytes.
  """
  to = urllib.parse.urlsplit(url)
  kind = (http.client.HTTPSConnection if to.scheme == "https"
          else http.client.HTTPConnection)
  connection = kind(to.hostname or "", to.port, timeout=seconds)
  found: list[Answer | Exception] = []
  sockets: list[socket.socket] = []

  def work() -> None:
    try:
      connection.connect()
      sockets.append(connection.sock)
      connection.request("POST", to.path, body, dict(headers))
      answer = connection.getresponse()
      found.append(Answer(answer.status, {
          name.lower(): value for name, value in answer.getheaders()},
                          answer.read(MOST + 1)))
    except (OSError, http.client.HTTPException, ValueError) as e:
      found.append(e)
    finally:
      connection.close()

  thread = threading.Thread(target=work, daemon=True)
  thread.start()
  thread.join(seconds)
  if not found:
    for sock in sockets or filter(None, [connection.sock]):
      with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    raise TooSlow(f"did not answer within {seconds:.3g} s")
  [answer] = found
  if isinstance(answer, TimeoutError):
    raise TooSlow(f"did not answer within {seconds:.3g} s")
  if isinstance(answer, Exception):
    raise Failed(_reason(answer)) from None
  if len(answer.body) > MOST:
    raise Failed(f"answered more than {MOST} bytes")
  return answer


def _reason(error: Exception) -> str:
  """Why there is no answer; nothing of what was sent is in it."""
  if isinstance(error, http.client.RemoteDisconnected):
    return "closed the connection without an answer"
  if isinstance(error, ConnectionRefusedError):
    return "cannot be reached: no server listens there"
  if isinstance(error, socket.gaierror):
    return "cannot be reached: there is no host of this name"
  if isinstance(error, ssl.SSLError):
    return f"cannot be trusted: {error.reason or 'no TLS'}"
  if isinstance(error, OSError):
    return f"cannot be reached: {error.strerror or type(error).__name__}"
  return f"answered no HTTP ({type(error).__name__})"
