//! The API's description, held against what the API answers; and its page.

use sparkbatch::plan::Defaults;

use super::*;

/// A server, with what it says of itself.
struct Described {
    api: ApiServer,
    router: Router,
    document: Value,
    /// Operations and statuses that answers were checked against.
    seen: Vec<(String, u16)>,
}

impl Described {
    async fn new(config: FacadeConfig) -> Self {
        let api = api_server();
        let router = facade_with(&api, config).await;
        let document = get(&router, "/openapi.json").await.json();
        Self { api, router, document, seen: Vec::new() }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let target =
            value["$ref"].as_str().map(|target| self.document.pointer(target.trim_start_matches('#')).unwrap());
        target.unwrap_or(value)
    }

    /// The described path that `path` is one of.
    fn template(&self, path: &str) -> &str {
        let parts: Vec<_> = path.split('?').next().unwrap().split('/').collect();
        let fits = |template: &&String| {
            let template: Vec<_> = template.split('/').collect();
            template.len() == parts.len()
                && template
                    .iter()
                    .zip(&parts)
                    .all(|(name, part)| name == part || (name.starts_with('{') && !part.is_empty()))
        };
        self.document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .find(fits)
            .unwrap_or_else(|| panic!("{path} is not described"))
    }

    /// Sends a request, and holds the answer against what is said of it.
    async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let (status, template) = (parts.status.as_u16(), self.template(path).to_owned());
        let operation = &self.document["paths"][&template][method.to_lowercase()];
        let what = format!("{method} {path}: {status}");
        let answer = operation["responses"].get(status.to_string()).or_else(|| operation["responses"].get("default"));
        let answer = self.resolve(answer.unwrap_or_else(|| panic!("{what} is not described")));
        for (name, header) in answer["headers"].as_object().unwrap() {
            let header = self.resolve(header);
            match parts.headers.get(name) {
                Some(value) if header["schema"]["type"] == "string" => {
                    self.check(&what, &header["schema"], &value.to_str().unwrap().into());
                }
                Some(value) => assert!(value.to_str().unwrap().parse::<u32>().is_ok(), "{what} {name}"),
                None => assert_ne!(header["required"], true, "{what} has no {name}"),
            }
        }
        let media = parts.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        let media = media.split(';').next().unwrap();
        let mut text = String::new();
        match &answer["content"] {
            Value::Null => assert_eq!(media, "", "{what}"),
            content if content["*/*"].is_object() => {}
            content => {
                let schema = &content.get(media).unwrap_or_else(|| panic!("{what} has a body of '{media}'"))["schema"];
                // A stream has no end.
                if media != "text/event-stream" {
                    text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap();
                    let value = if media == "application/json" { golden(&text) } else { text.clone().into() };
                    self.check(&what, schema, &value);
                }
            }
        }
        self.seen.push((operation["operationId"].as_str().unwrap().to_owned(), status));
        Answer { status: parts.status, headers: parts.headers, text }
    }

    fn check(&self, what: &str, schema: &Value, value: &Value) {
        let schema = json!({ "components": self.document["components"], "allOf": [schema] });
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{what}: {errors:?} in {value}");
    }

    /// Asks for everything that a collection has.
    async fn walk(&mut self, base: &str) {
        let mut asked = Vec::new();
        let create = include_str!("../golden/seed/create-cos.json");
        let key = [("idempotency-key", "k")];
        let id = self.ask("POST", base, &key, create).await.id();
        assert_eq!(self.ask("POST", base, &key, create).await.header("idempotent-replayed"), "true");
        assert_eq!(self.ask("POST", base, &key, JOB).await.status, 409);
        asked.push(self.ask("POST", &format!("{base}?dryRun=true"), &[], create).await.status);
        asked.push(self.ask("POST", base, &[], "{}").await.status);
        asked.push(self.ask("GET", base, &[], "").await.status);
        asked.push(self.ask("GET", &format!("{base}?details=true"), &[], "").await.status);
        asked.push(self.ask("GET", &format!("{base}?watch=true"), &[], "").await.status);
        let one = format!("{base}/{id}");
        for part in ["", "/state", "/details"] {
            let tag = self.ask("GET", &format!("{one}{part}"), &[], "").await.header("etag").to_owned();
            asked.push(self.ask("GET", &format!("{one}{part}"), &[("if-none-match", &tag)], "").await.status);
        }
        assert_eq!(asked, [200, 400, 200, 200, 200, 304, 304, 304]);
        for part in ["?watch=true", "/log", "/ui", "/ui/", "/ui/jobs"] {
            self.ask("GET", &format!("{one}{part}"), &[], "").await;
        }
        assert_eq!(self.ask("DELETE", &one, &[], "").await.status, 200);
        for part in ["", "/state", "/details", "/log", "/ui"] {
            assert_eq!(self.ask("GET", &format!("{one}{part}"), &[], "").await.status, 404);
        }
        assert_eq!(self.ask("DELETE", &one, &[], "").await.status, 404);
    }
}

#[rstest]
#[tokio::test]
async fn answers_are_what_the_document_says(#[values(false, true)] instance_extensions: bool) {
    let defaults = Defaults { image: Some("spark:1".into()), ..Defaults::default() };
    let mut server = Described::new(FacadeConfig { instance_extensions, defaults, ..config() }).await;
    for base in ["/batches", APACHE, INSTANCE] {
        server.walk(base).await;
    }
    for path in ["/version", "/openapi.json", "/docs", "/", "/ui", "/page/app.js", "/page/style.css", "/page/none"] {
        server.ask("GET", path, &[], "").await;
    }
    for (_, item) in server.document["paths"].as_object().unwrap() {
        for (_, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(server.seen.iter().any(|(seen, _)| seen == id), "{id} was not asked for");
        }
    }
}

#[tokio::test]
async fn refusals_are_what_the_document_says() {
    let mut server = Described::new(FacadeConfig { auth: AuthMode::Kubernetes, ..config() }).await;
    assert_eq!(server.ask("GET", APACHE, &[], "").await.status, 401);
    let mut server = Described::new(FacadeConfig { require_requested_by: true, ..config() }).await;
    assert_eq!(server.ask("POST", APACHE, &[], JOB).await.status, 400);
    assert_eq!(server.ask("POST", "/namespaces/other/batches", &[("x-requested-by", "me")], JOB).await.status, 404);
    let mut server = Described::new(config()).await;
    let too_large = " ".repeat(config().limits.body_bytes + 1);
    assert_eq!(server.ask("POST", INSTANCE, &[], &too_large).await.status, 413);
    assert_eq!(server.ask("POST", APACHE, &[], r#"{"file":"/a.py","proxyUser":"bob"}"#).await.status, 403);
    server.api.inject(Fault::on("create", "sparkbatches").answer_retry_after(429, 7));
    assert_eq!(server.ask("POST", APACHE, &[], JOB).await.header("retry-after"), "7");
}

#[tokio::test]
async fn the_methods_of_a_path_are_those_that_are_described() {
    let server = Described::new(config()).await;
    for (path, item) in server.document["paths"].as_object().unwrap() {
        let path = path.replace("{namespace}", NAMESPACE).replace(['{', '}'], "");
        let answer = call(&server.router, "PATCH", &path, "").await;
        assert_eq!(answer.status, 405, "{path}");
        let mut allowed: Vec<_> =
            answer.header("allow").split(',').map(|method| method.trim().to_lowercase()).collect();
        allowed.retain(|method| method != "head");
        allowed.sort();
        assert_eq!(allowed, item.as_object().unwrap().keys().cloned().collect::<Vec<_>>(), "{path}");
    }
}

#[tokio::test]
async fn every_parameter_of_a_query_is_read() {
    let mut server = Described::new(FacadeConfig { instance_extensions: true, ..config() }).await;
    let id = server.ask("POST", APACHE, &[], JOB).await.id();
    let (list, one) = (APACHE.to_owned(), format!("{APACHE}/{id}"));
    for name in ["from", "size", "state", "createdAfter", "order", "watch", "details"] {
        assert_eq!(server.ask("GET", &format!("{list}?{name}=?"), &[], "").await.status, 400, "{name}");
    }
    for name in ["name", "owner", "search"] {
        let answer = server.ask("GET", &format!("{list}?{name}=?"), &[], "").await;
        assert_eq!(answer.json()["total"], 0, "{name}");
    }
    assert_eq!(server.ask("GET", &format!("{one}?watch=?"), &[], "").await.status, 400);
    for name in ["from", "size"] {
        assert_eq!(server.ask("GET", &format!("{one}/log?{name}=?"), &[], "").await.status, 400, "{name}");
    }
    assert_eq!(server.ask("POST", &format!("{list}?dryRun=?"), &[], JOB).await.status, 400);
    assert_eq!(server.ask("POST", &format!("{list}?doAs=bob"), &[], JOB).await.status, 403);
}

#[tokio::test]
async fn the_document_and_its_page_need_no_credentials_and_name_the_server() {
    let external = "https://spark.example/api".parse().unwrap();
    let config = FacadeConfig { auth: AuthMode::Kubernetes, external_url: Some(external), ..config() };
    let mut server = Described::new(config).await;
    assert_eq!(server.document["servers"], json!([{ "url": "https://spark.example/api" }]));
    let tag = server.ask("GET", "/openapi.json", &[], "").await.header("etag").to_owned();
    assert_eq!(server.ask("GET", "/openapi.json", &[("if-none-match", &tag)], "").await.status, 304);

    let page = server.ask("GET", "/docs", &[], "").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(page.text.contains("https://spark.example/api/batches"));
}
