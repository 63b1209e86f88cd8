// What the API server of today takes a request line for, by its own library. In: lines of a method and a target. Out: for
// each a line of verb, group, version, namespace, resource, name and subresource between tabs, or why there is none.
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

func read(line string) string {
	wire := line + " HTTP/1.1\r\nHost: server\r\n\r\n"
	parsed, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		return "error: " + err.Error()
	}
	// As the server's own configuration has it.
	factory := request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, err := factory.NewRequestInfo(parsed)
	if err != nil {
		return "error: " + err.Error()
	}
	if !info.IsResourceRequest {
		return info.Verb + strings.Repeat("\t", 6)
	}
	parts := []string{info.Verb, info.APIGroup, info.APIVersion, info.Namespace, info.Resource, info.Name, info.Subresource}
	return strings.Join(parts, "\t")
}

func main() {
	lines, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		fmt.Fprintln(out, read(lines.Text()))
	}
}
