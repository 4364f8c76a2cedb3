"""A proxy that has the facade below a path of its own, and removes that path from what it hands on."""

import http.client
import http.server
import threading


class Proxy(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, prefix):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port, self.prefix = port, prefix
        self.url = f"http://127.0.0.1:{self.server_port}{prefix}/"
        # What was asked for outside of the path.
        self.strays = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()
        assert self.strays == []


class Handler(http.server.BaseHTTPRequestHandler):
    def hand_on(self):
        if not self.path.startswith(f"{self.server.prefix}/"):
            self.server.strays.append(self.path)
            return self.send_error(404)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port)
        try:
            upstream.request(self.command, self.path[len(self.server.prefix):], body or None, dict(self.headers))
            answer = upstream.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            while piece := answer.read1(65536):
                self.wfile.write(piece)
                self.wfile.flush()
        except (OSError, http.client.HTTPException):
            # Either side is gone.
            pass
        finally:
            upstream.close()

    do_GET = do_POST = do_DELETE = hand_on

    def log_message(self, *_):
        pass
