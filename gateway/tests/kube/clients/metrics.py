"""A small aggregated API: metrics.k8s.io for one node and its pods. In: address, certificate and key. Out: what `kubectl
top` asks for. Who changes its node has done so, whatever is said of dry runs."""

import http.server
import json
import ssl
import sys

ROOT = "/apis/metrics.k8s.io/v1beta1"


LABELS = {}


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        about = {"apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}}
        times = {"timestamp": "2026-11-22T03:04:05Z", "window": "30s"}
        node = {**about, "kind": "NodeMetrics", "metadata": {"name": "node1", "labels": LABELS}, "usage": {"cpu": "250m", "memory": "512Mi"}, **times}
        container = {"name": "app", "usage": {"cpu": "7m", "memory": "3Mi"}}
        if path == ROOT:
            of = lambda name, kind, inside: {"name": name, "singularName": "", "namespaced": inside, "kind": kind, "verbs": ["get", "list"]}
            resources = [of("nodes", "NodeMetrics", False), of("pods", "PodMetrics", True)]
            answer = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1", "resources": resources}
        elif path == f"{ROOT}/nodes":
            answer = {**about, "kind": "NodeMetricsList", "items": [node]}
        elif path == f"{ROOT}/nodes/node1":
            answer = node
        elif path.startswith(f"{ROOT}/namespaces/") and path.endswith("/pods"):
            meta = {"name": "worker", "namespace": path.split("/")[-2]}
            pod = {**about, "kind": "PodMetrics", "metadata": meta, "containers": [container], **times}
            answer = {**about, "kind": "PodMetricsList", "items": [pod]}
        else:
            self.send_response(404)
            self.send_header("content-length", "0")
            return self.end_headers()
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PATCH(self):
        patch = json.loads(self.rfile.read(int(self.headers["content-length"])))
        LABELS.update(patch.get("metadata", {}).get("labels", {}))
        self.do_GET()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((sys.argv[1], 443), Api)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
