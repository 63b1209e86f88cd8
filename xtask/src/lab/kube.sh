#!/usr/bin/env bash
# A real one-node Kubernetes (etcd, kube-apiserver, kubelet, containerd) in namespaces of its own, and what it is built from.
#   kube.sh build TOOLS kubernetes==VERSION   kube-apiserver and kubelet from Debian's source package of that version, and the
#                                             kubectl of the same age, into TOOLS/bin
#   kube.sh serve TOOLS HOME                  runs a node until standard input ends; prints `ready` when its pod `app` runs.
#                                             Nothing outlives it: its processes and mounts are in namespaces that end with it.
#   kube.sh api TOOLS HOME                    etcd and an API server alone, in the network namespace that it is started in, until
#                                             it is killed; prints `ready` when it answers
# The API is at https://10.99.0.2:6443 in the network namespace of the process that `serve` becomes. HOME holds ca.crt, admin.crt,
# admin.key, admin.kubeconfig, tokens.csv (tokens of several users) and audit.log.
# The node runs docker.io/test/app:1: busybox that prints `tick card 4111-1111-1111-1111` each second.
set -euo pipefail
ADDR=10.99.0.2

build() {
  local tools=$1 version=${2#*==} work=$1/build
  rm -rf "$work"; mkdir -p "$tools/bin" "$work/lists/partial"
  local uri keys
  uri=$(awk '/^URIs:/ {print $2; exit} /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) {print $i; exit}}' \
    $(ls /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null) </dev/null)
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  printf 'deb-src [signed-by=%s] %s bookworm main\n' "$keys" "$uri" >"$work/src.list"
  local o=(-o "Dir::Etc::sourcelist=$work/src.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists" -o APT::Sandbox::User=root)
  apt-get "${o[@]}" update -qq
  (cd "$work" && apt-get "${o[@]}" source -qq --download-only "kubernetes=$version" && dpkg-source -x ./*.dsc tree >/dev/null)
  # Its own copy of reflect2 (1.0.1) iterates over maps as Go did before 1.18, and brings the server down: Debian's has that right.
  (cd "$work" && apt-get download -qq golang-github-modern-go-reflect2-dev && dpkg -x golang-github-modern-go-reflect2-dev_*.deb reflect2)
  rm "$work"/tree/vendor/github.com/modern-go/reflect2/*.go
  find "$work/reflect2/usr/share/gocode/src/github.com/modern-go/reflect2" -maxdepth 1 -name '*.go' ! -name '*_test.go' \
    -exec cp {} "$work/tree/vendor/github.com/modern-go/reflect2/" \;
  cp "$work"/reflect2/usr/share/gocode/src/github.com/modern-go/reflect2/*.s "$work/tree/vendor/github.com/modern-go/reflect2/" 2>/dev/null || true
  mkdir -p "$work/gopath/src/k8s.io"; ln -sfn "$work/tree" "$work/gopath/src/k8s.io/kubernetes"
  (
    export PATH=/usr/lib/go-1.19/bin:$PATH GO111MODULE=off GOPATH=$work/gopath GOCACHE=$work/gocache GOFLAGS=
    cd "$work/gopath/src/k8s.io/kubernetes"
    make generated_files >/dev/null
    go build -o "$tools/bin/" ./cmd/kube-apiserver ./cmd/kubelet
  )
  (cd "$work" && apt-get download -qq "kubernetes-client=$version" && dpkg -x kubernetes-client_*.deb client)
  mv "$work/client/usr/bin/kubectl" "$tools/bin/kubectl"
  rm -rf "$work"
}

pki() {
  local curve=(ec -pkeyopt ec_paramgen_curve:P-256)
  openssl req -x509 -newkey "${curve[@]}" -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=lab-ca 2>/dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out sa.key
  local n s
  for n in "apiserver /CN=kube-apiserver" "admin /O=system:masters/CN=admin"; do
    s=${n#* }; n=${n%% *}
    openssl req -newkey "${curve[@]}" -nodes -keyout "$n.key" -out "$n.csr" -subj "$s" 2>/dev/null
    openssl x509 -req -in "$n.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$n.crt" -days 30 \
      -extfile <(printf 'subjectAltName=IP:%s,IP:10.96.0.1,DNS:kubernetes,DNS:kubernetes.default.svc,DNS:localhost' $ADDR) 2>/dev/null
  done
  cat >admin.kubeconfig <<Y
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://$ADDR:6443", certificate-authority: $PWD/ca.crt}}]
users: [{name: admin, user: {client-certificate: $PWD/admin.crt, client-key: $PWD/admin.key}}]
contexts: [{name: lab, context: {cluster: lab, user: admin}}]
current-context: lab
Y
  cat >tokens.csv <<T
token-of-gateway-one,gateway-one,1,"system:masters"
token-of-gateway-two,gateway-two,2,"system:masters"
token-of-nobody,nobody,3,"none"
T
  printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\nrules: [{level: Metadata}]\n' >audit.yaml
}

images() {
  mkdir -p rootfs/bin rootfs/tmp rootfs/etc; cp /bin/busybox rootfs/bin/
  local c; for c in sh cat ls echo sleep env id rm tar nc httpd; do ln -sf busybox "rootfs/bin/$c"; done
  tar -C rootfs -cf rootfs.tar .
  python3 - <<'P'
import hashlib, io, json, tarfile
layer = open('rootfs.tar', 'rb').read()
def image(name, cmd):
    cfg = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": cmd, "Env": ["PATH=/bin"]},
                      "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    cid = hashlib.sha256(cfg).hexdigest() + '.json'
    with tarfile.open(name.split('/')[-1].replace(':', '-') + '.tar', 'w') as t:
        for n, b in ((cid, cfg), ('layer.tar', layer),
                     ('manifest.json', json.dumps([{"Config": cid, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode())):
            i = tarfile.TarInfo(n); i.size = len(b); t.addfile(i, io.BytesIO(b))
image("docker.io/test/pause:1", ["/bin/sleep", "1000000"])
image("docker.io/test/app:1", ["/bin/sh", "-c", "while true; do echo tick card 4111-1111-1111-1111; sleep 1; done"])
P
}

import() { local i; for i in pause-1 app-1; do ctr -a "$PWD/containerd.sock" -n k8s.io image import "$i.tar"; done; }

start() { local name=$1; shift; "$@" >"$name.log" 2>&1 </dev/null & }

kubectl() { "$BIN/kubectl" --kubeconfig "$PWD/admin.kubeconfig" "$@"; }

await() { local i; for i in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.5; done; echo "never: $*" >&2; exit 1; }

# What was imported while containerd's part for kubelets was still starting, that part never hears of.
runs() { [ "$(kubectl get pod app -o jsonpath='{.status.phase}')" = Running ] || { import; return 1; }; }

# etcd and the API server.
plane() {
  start etcd etcd --data-dir "$PWD/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  start apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --bind-address=0.0.0.0 --advertise-address=$ADDR \
    --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt --token-auth-file=tokens.csv \
    --service-account-key-file=sa.key --service-account-signing-key-file=sa.key --service-account-issuer=https://kubernetes.default.svc \
    --authorization-mode=RBAC --service-cluster-ip-range=10.96.0.0/24 --kubelet-client-certificate=admin.crt --kubelet-client-key=admin.key \
    --kubelet-preferred-address-types=InternalIP --disable-admission-plugins=ServiceAccount --allow-privileged=true \
    --audit-policy-file=audit.yaml --audit-log-path=audit.log --audit-log-mode=blocking
}

api() {
  BIN=$1/bin
  mkdir -p -m 700 "$2"; cd "$2"
  pki
  plane
  await kubectl get ns default
  echo ready
  wait
}

# Inside its own network, mount and process namespaces.
node() {
  BIN=$1/bin HOME_DIR=$2
  trap clean EXIT
  cd "$2"; pki
  ip link set lo up; ip addr add $ADDR/32 dev lo; ip addr add 10.96.0.1/32 dev lo
  # kubelet wants a default route to know the node's address.
  ip route add default dev lo
  cat >containerd.toml <<C
version = 2
root = "$PWD/containerd"
state = "$PWD/containerd-state"
[grpc]
  address = "$PWD/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/test/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
C
  cat >kubelet.yaml <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: $PWD/ca.crt}, anonymous: {enabled: false}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
failSwapOn: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
resolvConf: ""
evictionHard: {"memory.available": "1Mi", "nodefs.available": "1Mi", "imagefs.available": "1Mi"}
Y
  plane
  start containerd containerd -c containerd.toml
  await ctr -a "$PWD/containerd.sock" version
  images
  await import
  await kubectl get ns default
  start kubelet "$BIN/kubelet" --config kubelet.yaml --kubeconfig admin.kubeconfig --container-runtime=remote \
    --container-runtime-endpoint="unix://$PWD/containerd.sock" --hostname-override node1 --node-ip $ADDR --root-dir "$PWD/kubelet" --network-plugin ""
  await kubectl get node node1
  await kubectl apply --validate=false -f - <<Y
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {app: app}}
spec:
  hostNetwork: true
  nodeName: node1
  automountServiceAccountToken: false
  tolerations: [{operator: Exists}]
  containers: [{name: app, image: docker.io/test/app:1, imagePullPolicy: Never}]
Y
  await runs
  echo ready
  cat >/dev/null
}

clean() {
  # All others of this namespace.
  kill -KILL -1 2>/dev/null || true
  cd /
  local m; for m in $(awk -v home="$HOME_DIR/" 'index($5, home) == 1 {print $5}' /proc/self/mountinfo | sort -r); do umount -l "$m" || true; done
  rm -rf "$HOME_DIR"
}

serve() {
  mkdir -p "$2"
  exec unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private -- "$0" node "$@"
}

"$@"
