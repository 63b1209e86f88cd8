// What an API server of today has and the lab's has not: exec by v5.channel.k8s.io and port-forward tunnelled through
// WebSocket, by the API server's own handlers; CBOR and the initial list of a watch, made of the lab's answers by the
// API's own types. In: the lab's files, an address. Out: an API server there; streams go to the kubelet, all else to the
// lab's server.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apimachinery/pkg/watch"
	streams "k8s.io/apiserver/pkg/util/proxy"
)

type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusBadGateway)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A list of the lab's in the form that the request names, whatever it accepts.
func inForm(w http.ResponseWriter, r *http.Request, lab http.RoundTripper, form string) {
	ask, err := http.NewRequest("GET", "https://10.99.0.2:6443"+r.URL.Path, nil)
	check(err)
	ask.Header.Set("Authorization", r.Header.Get("Authorization"))
	answer, err := lab.RoundTrip(ask)
	check(err)
	defer answer.Body.Close()
	var list map[string]any
	check(json.NewDecoder(answer.Body).Decode(&list))
	items, _ := list["items"].([]any)
	write := func(data []byte, err error) {
		check(err)
		w.Write(data)
	}
	event := func(kind watch.EventType, object any) metav1.WatchEvent {
		raw, err := json.Marshal(object)
		check(err)
		return metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: raw}}
	}
	switch form {
	case "cbor":
		w.Header().Set("Content-Type", "application/cbor")
		write(direct.Marshal(list))
	case "cbor-seq":
		w.Header().Set("Content-Type", "application/cbor-seq")
		for _, item := range items {
			write(direct.Marshal(map[string]any{"type": watch.Added, "object": item}))
		}
	case "initial":
		w.Header().Set("Content-Type", "application/json;stream=watch")
		out := json.NewEncoder(w)
		for _, item := range items {
			check(out.Encode(event(watch.Added, item)))
		}
		end := metav1.PartialObjectMetadata{}
		end.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		check(out.Encode(event(watch.Bookmark, end)))
		for _, item := range items {
			check(out.Encode(event(watch.Modified, item)))
		}
	}
}

func main() {
	home, listen := os.Args[1], os.Args[2]
	file := func(name string) string { return filepath.Join(home, name) }
	admin, err := tls.LoadX509KeyPair(file("admin.crt"), file("admin.key"))
	check(err)
	authority, err := os.ReadFile(file("ca.crt"))
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	server := &url.URL{Scheme: "https", Host: "10.99.0.2:6443"}
	plain := httputil.NewSingleHostReverseProxy(server)
	plain.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	plain.FlushInterval = -1
	// The kubelet's certificate is its own; its user is the admin, as the API server's is.
	kubelet := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{admin}}}

	handler := func(w http.ResponseWriter, r *http.Request) {
		if form := r.URL.Query().Get("form"); form != "" {
			inForm(w, r, plain.Transport, form)
			return
		}
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		if len(parts) != 7 || parts[4] != "pods" || r.Header.Get("Upgrade") == "" {
			plain.ServeHTTP(w, r)
			return
		}
		fmt.Println(parts[6], r.Header.Get("Upgrade"), r.Header.Values("Sec-Websocket-Protocol"))
		query, location := r.URL.Query(), &url.URL{Scheme: "https", Host: "10.99.0.2:10250"}
		container := query.Get("container")
		if container == "" {
			container = "app"
		}
		is := func(name string) bool { return query.Get(name) == "true" || query.Get(name) == "1" }
		switch parts[6] {
		case "exec", "attach":
			location.Path = fmt.Sprintf("/%s/%s/%s/%s", parts[6], parts[3], parts[5], container)
			to := url.Values{"command": query["command"]}
			for from, name := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"} {
				if is(from) {
					to.Set(name, "1")
				}
			}
			location.RawQuery = to.Encode()
		case "portforward":
			location.Path = fmt.Sprintf("/portForward/%s/%s", parts[3], parts[5])
		}
		upgrade := proxy.NewUpgradeAwareHandler(location, kubelet, false, true, responder{})
		upgrade.UpgradeTransport = proxy.NewUpgradeRequestRoundTripper(kubelet, kubelet)
		upgrade.UseLocationHost = true
		options := streams.Options{Stdin: is("stdin"), Stdout: is("stdout"), Stderr: is("stderr"), Tty: is("tty")}
		switch {
		case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
			upgrade.ServeHTTP(w, r)
		case parts[6] == "portforward":
			streams.NewTunnelingHandler(upgrade).ServeHTTP(w, r)
		default:
			streams.NewStreamTranslatorHandler(location, kubelet, 0, options).ServeHTTP(w, r)
		}
	}
	listener, err := net.Listen("tcp", listen)
	check(err)
	front := http.Server{Handler: http.HandlerFunc(handler), TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	fmt.Println("ready")
	check(front.ServeTLS(listener, file("apiserver.crt"), file("apiserver.key")))
}
