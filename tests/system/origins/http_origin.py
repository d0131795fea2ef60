#!/usr/bin/env python3
"""An HTTP origin for tests: /items/<key>, held in memory.

    http_origin.py PORT_FILE

writes the port it listens on into that file. Every answer is "<key>@<n>", where
n counts the PUTs of all keys, or what was PUT; a key that begins with "absent"
is not there. Tests change it through POST /set?name=value&...:

    delay       ms before each answer          status   what all requests are answered with; 0: as it should be
    cache       the Cache-Control header       garbage  1: something that is no HTTP
    length      bytes of every value; 0: as it should be

and ask it through GET /count?what=get|put|delete|peak[&key=name].
"""
import http.server
import sys
import threading
import time
import urllib.parse

lock = threading.Lock()
settings = {"delay": "0", "status": "0", "cache": "", "garbage": "0", "length": "0"}
values = {}
counts = {}
now = {"inside": 0, "peak": 0}


def count(what, key):
    for name in (what, what + " " + key):
        counts[name] = counts.get(name, 0) + 1


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", cache=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if cache:
            self.send_header("Cache-Control", cache)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def item(self, what):
        key = urllib.parse.unquote(self.path[len("/items/"):])
        body = self.body()
        with lock:
            count(what, key)
            now["inside"] += 1
            now["peak"] = max(now["peak"], now["inside"])
            delay, status = float(settings["delay"]), int(settings["status"])
            cache, garbage = settings["cache"], settings["garbage"] == "1"
            length = int(settings["length"])
            value = values.get(key, key.encode() + b"@" + str(counts.get("put", 0)).encode())
            if key.startswith("absent") and key not in values:
                value = None
        time.sleep(delay / 1000)
        with lock:
            now["inside"] -= 1
            if not status and what == "put":
                values[key] = body
            if not status and what == "delete":
                values[key] = None
        if garbage:
            self.wfile.write(b"\x00\x01\x02 this is not HTTP\r\n" * 100)
            self.close_connection = True
        elif status:
            self.answer(status, b"", cache)
        elif what != "get":
            self.answer(204)
        elif value is None:
            self.answer(404)
        else:
            self.answer(200, value if not length else b"x" * length, cache)

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        if url.path == "/count":
            asked = urllib.parse.parse_qs(url.query)
            what = asked["what"][0]
            name = what + " " + asked["key"][0] if "key" in asked else what
            with lock:
                n = now["peak"] if what == "peak" else counts.get(name, 0)
            self.answer(200, str(n).encode() + b"\n")
        else:
            self.item("get")

    def do_PUT(self):
        self.item("put")

    def do_DELETE(self):
        self.item("delete")

    def do_POST(self):
        url = urllib.parse.urlparse(self.path)
        self.body()
        with lock:
            for name, value in urllib.parse.parse_qsl(url.query, keep_blank_values=True):
                settings[name] = value
        self.answer(204)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    disable_nagle_algorithm = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Handler)
Handler.wbufsize = -1
with open(sys.argv[1] + ".new", "w") as out:
    out.write(str(server.server_address[1]))
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
