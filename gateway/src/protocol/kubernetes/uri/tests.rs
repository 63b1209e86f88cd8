//! Request lines that are refused, and the odd ones; what the real server says of others is in `tests/kube`.

use super::*;

fn read(method: &str, target: &str) -> Result<String, UriError> {
    let info = RequestInfo::read(method, target)?;
    Ok(match &info.resource {
        None => format!("{} {}", info.verb.name(), info.path),
        Some(of) => {
            let part = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
            let (group, namespace) = (part(&of.group), part(&of.namespace));
            let (name, subresource) = (part(&of.name), part(&of.subresource));
            format!("{} {group} {} {namespace} {} {name} {subresource}", info.verb.name(), of.version, of.resource)
        }
    })
}

#[test]
fn reads_request_lines_failing_at_the_server_does() {
    let cases = [
        ("GET", "/api/v1/namespaces/shop/pods/web", "get - v1 shop pods web -"),
        ("HEAD", "/api/v1/namespaces/shop/pods/web", "get - v1 shop pods web -"),
        ("GET", "/api/v1/namespaces/shop/pods", "list - v1 shop pods - -"),
        ("GET", "/api/v1/pods/", "list - v1 - pods - -"),
        ("GET", "/api/v1/pods?watch=true", "watch - v1 - pods - -"),
        ("GET", "/api/v1/pods?watch", "watch - v1 - pods - -"),
        ("GET", "/api/v1/pods?watch=0", "list - v1 - pods - -"),
        ("GET", "/api/v1/pods?watch=FALSE", "list - v1 - pods - -"),
        ("GET", "/api/v1/pods?%77atch=1", "watch - v1 - pods - -"),
        ("GET", "/api/v1/watch/namespaces/shop/pods/web", "watch - v1 shop pods web -"),
        ("GET", "/api/v1/proxy/nodes/n1/logs", "proxy - v1 - nodes n1 -"),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dweb", "list - v1 - pods web -"),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name!=web", "list - v1 - pods - -"),
        ("DELETE", "/apis/apps/v1/namespaces/shop/deployments", "deletecollection apps v1 shop deployments - -"),
        ("DELETE", "/api/v1/namespaces/shop", "delete - v1 shop namespaces shop -"),
        ("PUT", "/api/v1/namespaces/shop/finalize", "update - v1 shop namespaces shop finalize"),
        ("GET", "/api/v1/namespaces/shop/status/x", "get - v1 shop namespaces shop status"),
        ("GET", "/api/v1/namespaces", "list - v1 - namespaces - -"),
        ("POST", "/api/v1/namespaces/a/pods/b/exec?command=id", "create - v1 a pods b exec"),
        ("GET", "/api/v1/namespaces/a/services/b/proxy/x/y/", "get - v1 a services b proxy"),
        (
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "get rbac.authorization.k8s.io v1 - clusterroles system:node -",
        ),
        ("GET", "/apis", "get /apis"),
        ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
        ("GET", "/api/v1", "get /api/v1"),
        ("GET", "/API/v1/pods/x", "get /API/v1/pods/x"),
        ("POST", "/healthz", "post /healthz"),
        ("GET", "/", "get /"),
    ];
    for (method, target, expected) in cases {
        assert_eq!(read(method, target).as_deref(), Ok(expected), "{method} {target}");
    }
}

#[test]
fn refuses_what_two_readers_could_take_for_two_things() {
    let cases = [
        ("GET", "http://other/api/v1/pods"),
        ("GET", "*"),
        ("GET", "api/v1/pods"),
        ("GET", "//api/v1/pods"),
        ("GET", "/api//v1/pods"),
        ("GET", "/api/v1/pods//"),
        ("GET", "/api/v1/namespaces/a/../b/pods"),
        ("GET", "/api/v1/./pods"),
        ("GET", "/api/v1/namespaces/a%2Fpods"),
        ("GET", "/api/v1/namespaces/%2e%2e/pods"),
        ("GET", "/api/v1/secrets%00"),
        ("GET", "/api/v1/secrets%0a"),
        ("GET", "/api/v1/secrets%252f"),
        ("GET", "/api/v1/secrets%5cx"),
        ("GET", "/api/v1\\secrets"),
        ("GET", "/api/v1/pods;a=b"),
        ("GET", "/api/v1/pods%3bx"),
        ("GET", "/api/v1/pods%3Fwatch"),
        ("GET", "/api/v1/pods#x"),
        ("GET", "/api/v1/pods/%ff"),
        ("GET", "/api/v1/pods/%"),
        ("GET", "/api/v1/pods/%4"),
        ("GET", "/api/v1/pods?watch=false&watch=true"),
        ("GET", "/api/v1/pods?a=b;watch=true"),
        ("GET", "/api/v1/pods?watch=%zz"),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name=a&fieldSelector=metadata.name=b"),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name=a&limit=x"),
        ("GET", "/api/v1/watch"),
        ("OPTIONS", "/api/v1/pods"),
        ("get", "/api/v1/pods"),
        ("CONNECT", "/api/v1/pods"),
    ];
    for (method, target) in cases {
        assert!(read(method, target).is_err(), "{method} {target}: {:?}", read(method, target));
    }
    assert_eq!(read("GET", &format!("/{}", "a/".repeat(100))), Err(UriError::TooLong));
    assert_eq!(read("GET", &format!("/{}", "a".repeat(70_000))), Err(UriError::TooLong));
}

proptest::proptest! {
    #[test]
    fn never_panics_and_never_finds_a_slash_in_a_name(target in "/[a-z0-9/.%?&=;:# -]{0,80}") {
        if let Ok(RequestInfo { resource: Some(of), .. }) = RequestInfo::read("GET", &target) {
            for part in [of.group, of.version, of.namespace, of.resource, of.subresource, of.name] {
                proptest::prop_assert!(!part.contains('/') && part != "..", "{target}");
            }
        }
    }
}
