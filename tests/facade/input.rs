//! What callers may get wrong, and what they are told.

use super::*;

#[rstest]
#[case("", "the body is empty")]
#[case("abcde", "the body is not JSON")]
#[case("[]", "the body is a list")]
#[case("null", "the body is null")]
#[case("{}", "File is required.")]
#[case(r#"{"file":["/a.py"]}"#, "file: must be a string")]
#[case(r#"{"file":"x.py"}"#, "Path 'x.py' is not absolute.")]
#[case(r#"{"file":"file:///a.py"}"#, "file: the scheme 'file' is refused")]
#[case(r#"{"file":"/ cos://b.c/a.py"}"#, "file: has a blank")]
#[case(r#"{"file":"/a.py","bogus":1}"#, "Unrecognized field \"bogus\"")]
#[case(r#"{"file":"/a.py","args":"x"}"#, "args: must be a list")]
#[case(r#"{"file":"/a.py","driverCores":2.7}"#, "driverCores: must be a whole number")]
#[case(r#"{"file":"/a.py","executorCores":0}"#, "executorCores: must be from 1 to 1024")]
#[case(r#"{"file":"/a.py","driverMemory":"lots"}"#, "driverMemory: 'lots' is no JVM size")]
#[case(r#"{"file":"/a.py","conf":{"spark.master":"local"}}"#, "session config: spark.master")]
#[case(
    r#"{"file":"/a.py","conf":{"spark.kubernetes.authenticate.oauthToken":"s3cr3t"}}"#,
    "spark.kubernetes.authenticate.oauthToken"
)]
#[case(r#"{"file":"/a.py","name":"123"}"#, "Invalid session name: 123")]
#[case(r#"{"file":"/a.py","file":"/b.py"}"#, "file: is given twice")]
#[tokio::test]
async fn bad_input_creates_nothing_and_uses_no_id(#[case] body: &'static str, #[case] part: &str) {
    let api = api_server();
    let router = facade(&api).await;
    for path in [INSTANCE, "/batches"] {
        let answer = post(&router, path, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.msg().contains(part), "{}", answer.text);
        assert!(!answer.text.contains("s3cr3t"));
    }
    assert_eq!(api.writes(), Vec::<String>::new());
    assert_eq!(post(&router, INSTANCE, JOB).await.id(), 1);
}

#[tokio::test]
async fn the_instance_dialect_refuses_by_name_what_it_does_not_support() {
    let api = api_server();
    let router = facade(&api).await;
    let answer =
        post(&router, INSTANCE, r#"{"file":"/a.py","proxyUser":"bob","archives":["/z.zip"],"queue":"q"}"#).await;
    assert_eq!(answer.status, 400);
    for field in ["proxyUser", "archives", "queue"] {
        assert!(answer.msg().contains(&format!("{field}: is not supported by this API")), "{}", answer.text);
    }
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_of_two_megabytes_is_refused_whether_it_says_its_length_or_not() {
    let api = api_server();
    let router = facade(&api).await;
    let body = format!(r#"{{"file":"/a.py","args":["{}"]}}"#, "x".repeat(2 << 20));
    let declared = Request::post(APACHE).header("content-length", body.len()).body(Body::from(body.clone())).unwrap();
    let pieces: Vec<_> = body.as_bytes().chunks(1 << 16).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let chunked = Request::post(APACHE).body(Body::from_stream(futures::stream::iter(pieces))).unwrap();
    for request in [declared, chunked] {
        let answer = send(&router, request).await;
        assert_eq!((answer.status, answer.msg().contains("1048576 bytes")), (StatusCode::PAYLOAD_TOO_LARGE, true));
    }
    assert_eq!(api.writes(), Vec::<String>::new());
    // The largest that is allowed is read, and told what else is wrong with it.
    let largest = format!("{{\"file\":\"/a.py\",\"args\":[\"{}\"]}}", "x".repeat((1 << 20) - 28));
    assert_eq!(largest.len(), 1 << 20);
    assert_eq!(post(&router, APACHE, largest).await.status, 400);
}

#[rstest]
#[case("application/x-www-form-urlencoded", 400)]
#[case("multipart/form-data; boundary=x", 400)]
#[case("text/plain", 201)]
#[case("application/json", 201)]
#[tokio::test]
async fn content_types_are_not_looked_at_but_for_forms(#[case] content_type: &str, #[case] status: u16) {
    let api = api_server();
    let router = facade(&api).await;
    let request = Request::post(APACHE).header("content-type", content_type).body(Body::from(JOB)).unwrap();
    assert_eq!(send(&router, request).await.status, status);
}

#[rstest]
#[case("cross-site", 403)]
#[case("same-site", 403)]
#[case("same-origin", 201)]
#[case("none", 201)]
#[tokio::test]
async fn pages_of_other_sites_submit_nothing(#[case] site: &str, #[case] status: u16) {
    let api = api_server();
    let router = facade(&api).await;
    let request = Request::post(APACHE).header("content-type", "text/plain").header("sec-fetch-site", site);
    assert_eq!(send(&router, request.body(Body::from(JOB)).unwrap()).await.status, status);
}

#[rstest]
#[case("/batches/99999999999", 400, "For input string: \"99999999999\"")]
#[case("/batches/2147483648/state", 400, "For input string: \"2147483648\"")]
#[case("/batches/2147483647", 404, "Session '2147483647' not found.")]
#[case("/batches/0", 404, "Session '0' not found.")]
#[case("/batches/-1", 404, "Session '-1' not found.")]
#[case("/batches/+1", 404, "Session '+1' not found.")]
#[case("/batches/1e3", 404, "Session '1e3' not found.")]
#[case("/batches/0x1", 404, "Session '0x1' not found.")]
#[case("/batches/%D9%A3", 404, "Session '٣' not found.")]
#[case("/batches/%FF", 404, "Session '\u{fffd}' not found.")]
#[case("/batches/..%2f..%2fversion", 404, "Session '../../version' not found.")]
#[case("/batches/1%00", 404, "Session '1\u{0}' not found.")]
#[case("/batches/1/", 404, "There is nothing at '/batches/1/'.")]
#[case("/batches/1/nothing", 404, "There is nothing at '/batches/1/nothing'.")]
#[case("//batches", 404, "There is nothing at '//batches'.")]
#[case("/nothing", 404, "There is nothing at '/nothing'.")]
#[case("/namespaces/nope/batches", 404, "Namespace 'nope' not found.")]
#[case("/namespaces/..%2F..%2Fapi/batches", 404, "Namespace '../../api' not found.")]
#[case("/namespaces/UPPER/batches/1", 404, "Namespace 'UPPER' not found.")]
#[case("/v3/analytics_engines/nope/livy/batches", 404, "Instance 'nope' not found.")]
#[case("/v3/analytics_engines/a%2Cb%3Dc/livy/batches", 404, "Instance 'a,b=c' not found.")]
#[case("/v3/analytics_engines/spark/livy/batches", 404, "Instance 'spark' not found.")]
#[case("/batches?from=abc", 400, "For input string: \"abc\"")]
#[case("/batches?size=1.5", 400, "For input string: \"1.5\"")]
#[tokio::test]
async fn paths_and_parameters_are_answered_in_livys_words(#[case] path: &str, #[case] status: u16, #[case] msg: &str) {
    let router = facade(&api_server()).await;
    let answer = get(&router, path).await;
    assert_eq!((answer.status.as_u16(), answer.msg()), (status, msg.to_owned()));
}

#[tokio::test]
async fn names_are_no_ids_in_the_instance_dialect() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, INSTANCE, r#"{"file":"/a.py","name":"job-a"}"#).await;
    assert_eq!(get(&router, &format!("{INSTANCE}/job-a")).await.status, 404);
    let log = get(&router, &format!("{INSTANCE}/1/log")).await;
    assert_eq!(log.status, 404);
    assert!(log.msg().contains("GET /namespaces/spark/batches/1/log"), "{}", log.text);
}

#[rstest]
#[case("PUT", "/batches/1", &["GET", "HEAD", "DELETE"])]
#[case("POST", "/batches/1", &["GET", "HEAD", "DELETE"])]
#[case("PATCH", "/batches/1", &["GET", "HEAD", "DELETE"])]
#[case("OPTIONS", "/batches", &["GET", "HEAD", "POST"])]
#[case("DELETE", "/batches/", &["GET", "HEAD", "POST"])]
#[case("POST", "/batches/1/state", &["GET", "HEAD"])]
#[case("POST", "/version", &["GET", "HEAD"])]
#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_allowed(
    #[case] method: &str,
    #[case] path: &str,
    #[case] allowed: &[&str],
) {
    let router = facade(&api_server()).await;
    let answer = call(&router, method, path, "").await;
    assert_eq!((answer.status, answer.msg().contains(method)), (StatusCode::METHOD_NOT_ALLOWED, true));
    let mut listed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
    let mut allowed = allowed.to_vec();
    listed.sort_unstable();
    allowed.sort_unstable();
    assert_eq!(listed, allowed);
}

#[tokio::test]
async fn head_is_get_without_the_body_and_bodies_of_gets_are_ignored() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    let full = get(&router, "/batches").await;
    let head = call(&router, "HEAD", "/batches", "").await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), full.text.len().to_string());
    let request = Request::get("/batches").body(Body::from(r#"{"from":5,"size":1}"#)).unwrap();
    assert_eq!(send(&router, request).await.text, full.text);
}

#[tokio::test]
async fn a_request_has_an_id_and_a_caller_may_choose_it() {
    let router = facade(&api_server()).await;
    let with_id = |id: &str| Request::get("/version").header("x-request-id", id).body(Body::empty()).unwrap();
    assert_eq!(send(&router, with_id("abc-1")).await.header("x-request-id"), "abc-1");
    for forged in ["a b", "a\tb", &"x".repeat(500)] {
        assert_eq!(send(&router, with_id(forged)).await.header("x-request-id").len(), 32);
    }
    let answer = get(&router, "/nothing").await;
    assert_eq!((answer.header("x-request-id").len(), answer.header("x-content-type-options")), (32, "nosniff"));
}

#[rstest]
#[case::list("[", "]")]
#[case::object("{\"a\":", "}")]
#[tokio::test]
async fn a_body_nested_ten_thousand_deep_is_refused_at_once(#[case] open: &str, #[case] close: &str) {
    let api = api_server();
    let router = facade(&api).await;
    let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let endless = open.repeat(100_000);
    for body in [
        deep.clone(),
        endless.clone(),
        format!(r#"{{"file":"/a.py","args":{deep}}}"#),
        format!(r#"{{"file":"/a.py","conf":{{"spark.a":{deep}}}}}"#),
        format!(r#"{{"file":"/a.py","unknown":{deep}}}"#),
        format!(r#"{{"file":"/a.py","conf":{endless}"#),
    ] {
        let started = std::time::Instant::now();
        let answer = post(&router, APACHE, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(started.elapsed() < Duration::from_secs(1) && answer.text.len() < 1000);
    }
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[rstest]
#[case::invalid_utf8(b"{\"file\":\"/\xff.py\"}")]
#[case::invalid_utf8_in_a_key(b"{\"file\":\"/a.py\",\"\xc3\x28\":1}")]
#[case::invalid_utf8_outside(b"\xff{\"file\":\"/a.py\"}")]
#[case::half_a_surrogate_pair(br#"{"file":"/\ud800.py"}"#)]
#[case::utf16(b"{\0\"\0f\0i\0l\0e\0\"\0:\0\"\0/\0a\0\"\0}\0")]
#[case::nul(b"{\"file\":\"/a\0.py\"}")]
#[case::nul_escaped(br#"{"file":"/a\u0000.py"}"#)]
#[case::two_bodies(br#"{"file":"/a.py"}{"file":"/a.py"}"#)]
#[case::key_twice_in_conf(br#"{"file":"/a.py","conf":{"spark.a":"1","spark.a":"2"}}"#)]
#[case::gzip(b"\x1f\x8b\x08\0\0\0\0\0\0\x03")]
#[tokio::test]
async fn a_body_that_is_no_text_or_says_two_things_is_refused(#[case] body: &'static [u8]) {
    let api = api_server();
    let router = facade(&api).await;
    for path in [INSTANCE, APACHE] {
        let answer = post(&router, path, body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(!answer.msg().is_empty());
    }
    assert_eq!(api.writes(), Vec::<String>::new());
}

#[rstest]
#[case(&["gzip"], 415)]
#[case(&["GZIP"], 415)]
#[case(&["identity, br"], 415)]
#[case(&["identity", "deflate"], 415)]
#[case(&["nonsense"], 415)]
#[case(&["identity"], 201)]
#[case(&["Identity, identity"], 201)]
#[case(&[""], 201)]
#[tokio::test]
async fn a_body_is_taken_as_it_is_and_never_unpacked(#[case] encodings: &[&str], #[case] status: u16) {
    let api = api_server();
    let router = facade(&api).await;
    let request =
        encodings.iter().fold(Request::post(APACHE), |request, value| request.header("content-encoding", *value));
    let answer = send(&router, request.body(Body::from(JOB)).unwrap()).await;
    assert_eq!(answer.status, status, "{}", answer.text);
    if status == 415 {
        assert_eq!(answer.header("accept-encoding"), "identity");
        assert!(answer.msg().contains("Content-Encoding"));
    }
}

#[tokio::test]
async fn a_name_forges_no_header() {
    let router = facade(&api_server()).await;
    let body = r#"{"file":"/a.py","name":"a\r\nx-forged: 1"}"#;
    let answer = post(&router, APACHE, body).await;
    assert!(!answer.headers.contains_key("x-forged"), "{:?}", answer.headers);
    let answer = get(&router, "/batches/1%0d%0ax-forged:%201").await;
    assert_eq!((answer.status, answer.headers.contains_key("x-forged")), (StatusCode::NOT_FOUND, false));
    let token = Request::get("/batches").header("authorization", format!("Bearer {}", "x".repeat(1 << 20)));
    assert_eq!(send(&router, token.body(Body::empty()).unwrap()).await.status, 200);
}
