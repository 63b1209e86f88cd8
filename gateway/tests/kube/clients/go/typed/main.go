// A typed client as controllers are: it sends protobuf. In: a kubeconfig, a namespace. Out: a line for each thing done.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func say(what string, err error, more ...any) {
	if err != nil {
		fmt.Println(what+":", err)
		return
	}
	fmt.Println(append([]any{what + ": done"}, more...)...)
}

func pod(image string, volumes ...core.Volume) core.PodTemplateSpec {
	return core.PodTemplateSpec{
		ObjectMeta: meta.ObjectMeta{Labels: map[string]string{"app": "typed"}},
		Spec:       core.PodSpec{Containers: []core.Container{{Name: "app", Image: image}}, Volumes: volumes},
	}
}

func deployment(name string, replicas int32, template core.PodTemplateSpec) *apps.Deployment {
	return &apps.Deployment{
		ObjectMeta: meta.ObjectMeta{Name: name},
		Spec: apps.DeploymentSpec{
			Replicas: &replicas,
			Selector: &meta.LabelSelector{MatchLabels: map[string]string{"app": "typed"}},
			Template: template,
		},
	}
}

func main() {
	context, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		panic(err)
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		panic(err)
	}
	of := os.Args[1]
	maps, secrets, deployments := client.CoreV1().ConfigMaps(of), client.CoreV1().Secrets(of), client.AppsV1().Deployments(of)
	none, create, update := meta.GetOptions{}, meta.CreateOptions{}, meta.UpdateOptions{}

	made, err := maps.Create(context, &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: "typed"}, Data: map[string]string{"a": "1"}}, create)
	say("config map", err)
	if err == nil {
		made.Data["b"] = "2"
		_, err = maps.Update(context, made, update)
		say("update", err)
	}
	_, err = maps.Patch(context, "typed", types.MergePatchType, []byte(`{"data":{"c":"3"}}`), meta.PatchOptions{})
	say("patch", err)
	read, err := maps.Get(context, "typed", none)
	say("data", err, len(read.Data))
	_, err = secrets.Create(context, &core.Secret{ObjectMeta: meta.ObjectMeta{Name: "typed"}, StringData: map[string]string{"word": "correct horse"}}, create)
	say("secret", err)
	secret, err := secrets.Get(context, "typed", none)
	say("word", err, string(secret.Data["word"]))
	if err == nil {
		secret.Labels = map[string]string{"seen": "yes"}
		_, err = secrets.Update(context, secret, update)
		say("what was read, written back", err)
	}
	_, err = deployments.Create(context, deployment("typed", 1, pod("docker.io/test/app:1")), create)
	say("deployment", err)
	host := core.Volume{Name: "host", VolumeSource: core.VolumeSource{HostPath: &core.HostPathVolumeSource{Path: "/"}}}
	_, err = deployments.Create(context, deployment("host", 1, pod("docker.io/test/app:1", host)), create)
	say("the node's files", err)
	scale, err := deployments.GetScale(context, "typed", none)
	if err == nil {
		scale.Spec.Replicas = 0
		_, err = deployments.UpdateScale(context, "typed", scale, update)
	}
	say("scale to zero", err)
	_, err = client.RbacV1().Roles(of).Create(context, &rbac.Role{
		ObjectMeta: meta.ObjectMeta{Name: "typed"},
		Rules:      []rbac.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}}},
	}, create)
	say("role", err)
	propagation := meta.DeletePropagationBackground
	err = maps.Delete(context, "typed", meta.DeleteOptions{PropagationPolicy: &propagation})
	say("delete", err)
	left, err := maps.List(context, meta.ListOptions{FieldSelector: "metadata.name=typed"})
	say("left", err, len(left.Items))
	// What is there once more when this runs again.
	_ = secrets.Delete(context, "typed", meta.DeleteOptions{})
	for _, name := range []string{"typed", "host"} {
		_ = deployments.Delete(context, name, meta.DeleteOptions{})
	}
}
