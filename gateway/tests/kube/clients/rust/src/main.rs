//! A program with kube-rs, as an operator is. In: a kubeconfig, a namespace with a pod `worker`. Out: a line for each thing
//! done. It must never end well when one of them failed.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio::io::AsyncReadExt;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done<()> {
    let namespace = std::env::args().nth(1).ok_or("no namespace")?;
    let client = Client::try_default().await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);

    let seen = maps.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    let data = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let mut made = ConfigMap { data: Some(data), ..ConfigMap::default() };
    made.metadata.name = Some("kube-rs".to_owned());
    maps.create(&PostParams::default(), &made).await?;
    let apply = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "2"}});
    maps.patch("kube-rs", &PatchParams::apply("kube-rs").force(), &Patch::Apply(&apply)).await?;
    let merge = serde_json::json!({"data": {"c": "3"}});
    maps.patch("kube-rs", &PatchParams::default(), &Patch::Merge(&merge)).await?;
    println!("applied: {:?}", maps.get("kube-rs").await?.data.unwrap_or_default());

    let mut changes = maps.watch(&WatchParams::default().fields("metadata.name=kube-rs"), &seen).await?.boxed();
    for _ in 0..3 {
        match changes.try_next().await? {
            Some(WatchEvent::Added(_)) => println!("watched: added"),
            Some(WatchEvent::Modified(_)) => println!("watched: modified"),
            other => println!("watched: {other:?}"),
        }
    }
    let secret = secrets.get("password").await?.data.unwrap_or_default();
    println!("secret: {}", String::from_utf8_lossy(&secret.get("word").ok_or("no word")?.0));
    let lines = LogParams { tail_lines: Some(1), ..LogParams::default() };
    println!("log: {}", pods.logs("worker", &lines).await?.trim());

    let mut run = pods.exec("worker", ["sh", "-c", "echo ran; exit 3"], &AttachParams::default().stderr(false)).await?;
    let mut said = String::new();
    run.stdout().ok_or("no output")?.read_to_string(&mut said).await?;
    let status = run.take_status().ok_or("no status")?.await.and_then(|status| status.message).unwrap_or_default();
    println!("exec: {} {status}", said.trim());
    let mut forwarded = pods.portforward("worker", &[18_191]).await?;
    let mut stream = forwarded.take_stream(18_191).ok_or("no port")?;
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /index.html HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    println!("forwarded: {}", page.lines().last().unwrap_or_default());
    maps.delete("kube-rs", &DeleteParams::background()).await?;
    println!("deleted: {}", maps.get_opt("kube-rs").await?.is_none());
    Ok(())
}
