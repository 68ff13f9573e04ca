"""A small web server, managed: `ACM_CONFIG=agent.toml python3 server.py NAME`."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import acm


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"hello from {sys.argv[1]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


listener = acm.bind("web")
server = ThreadingHTTPServer(listener.getsockname(), Hello, bind_and_activate=False)
server.socket = listener
server.serve_forever()
