"""The Python client at ordinary work. In: a namespace with the pod `worker`, a port on which that answers HTTP. Out: a line
for each thing that it did, the same wherever it runs."""

import base64
import sys

from kubernetes import client, config, watch
from kubernetes.stream import portforward, stream

config.load_kube_config()
namespace, port = sys.argv[1], int(sys.argv[2])
api, apps = client.CoreV1Api(), client.AppsV1Api()
meta = client.V1ObjectMeta


def say(what, value):
    print(f"{what}: {value}", flush=True)


say("created", api.create_namespaced_config_map(namespace, {"metadata": {"name": "python"}, "data": {"a": "1"}}).data)
say("patched", api.patch_namespaced_config_map("python", namespace, {"data": {"b": "2"}}).data)
body = api.read_namespaced_config_map("python", namespace)
body.data["c"] = "3"
say("replaced", api.replace_namespaced_config_map("python", namespace, body).data)
names = [item.metadata.name for item in api.list_namespaced_config_map(namespace, limit=500).items]
say("listed", "python" in names)
for event in watch.Watch().stream(api.list_namespaced_config_map, namespace, field_selector="metadata.name=python", timeout_seconds=20):
    say("watched", (event["type"], event["object"].data))
    break
deployment = {
    "metadata": {"name": "python"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "python"}},
        "template": {
            "metadata": {"labels": {"app": "python"}},
            "spec": {"containers": [{"name": "app", "image": "docker.io/test/app:1"}]},
        },
    },
}
say("deployed", apps.create_namespaced_deployment(namespace, deployment).spec.replicas)
say("scaled", apps.patch_namespaced_deployment_scale("python", namespace, {"spec": {"replicas": 3}}).spec.replicas)
apps.delete_namespaced_deployment("python", namespace)
secret = api.read_namespaced_secret("password", namespace)
say("secret", base64.b64decode(secret.data["word"]).decode())
say("log", api.read_namespaced_pod_log("worker", namespace, tail_lines=1))
command = ["sh", "-c", "echo said; echo wrong >&2; exit 3"]
ran = stream(
    api.connect_get_namespaced_pod_exec, "worker", namespace, command=command, stdout=True, stderr=True, _preload_content=False
)
ran.run_forever(timeout=30)
say("ran", (ran.read_stdout(), ran.read_stderr(), ran.returncode))
forward = portforward(api.connect_get_namespaced_pod_portforward, "worker", namespace, ports=str(port))
socket = forward.socket(port)
socket.setblocking(True)
socket.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
answer = b""
while b"hello" not in answer:
    piece = socket.recv(1024)
    if not piece:
        break
    answer += piece
socket.close()
say("forwarded", answer.split(b"\r\n")[-1].decode().strip())
api.delete_namespaced_config_map("python", namespace)
names = [item.metadata.name for item in api.list_namespaced_config_map(namespace).items]
say("deleted", "python" not in names)
