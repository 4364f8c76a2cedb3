//! The document as one page of HTML. No script and nothing from elsewhere, so that it works offline and can be saved.

use std::fmt::{self, Display, Formatter, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

const STYLE: &str = include_str!("style.css");
const METHODS: [&str; 3] = ["get", "post", "delete"];
/// What a schema says besides its type, in words that stand before the value.
const BOUNDS: [(&str, &str); 9] = [
    ("format", ""),
    ("const", "always "),
    ("minimum", "at least "),
    ("maximum", "at most "),
    ("minLength", "shortest "),
    ("maxLength", "longest "),
    ("minItems", "fewest "),
    ("maxItems", "most "),
    ("pattern", "as "),
];

/// What a browser lets the page do: have its own style.
pub(super) fn policy() -> String {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()).as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         sandbox allow-top-navigation-by-user-activation"
    )
}

/// The page of `document`.
pub(super) fn render(document: &Value) -> String {
    let mut html = String::new();
    // Writing to a text does not fail.
    let _ = Page { document }.write(&mut html);
    html
}

/// Text as HTML shows it.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// The description of `value`: every other part between backquotes is code, and an empty line parts paragraphs.
struct Prose<'a>(&'a Value);

impl Display for Prose<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, paragraph) in text(self.0, "description").trim().split("\n\n").enumerate() {
            f.write_str(if number > 0 { "<br><br>" } else { "" })?;
            for (at, part) in paragraph.split('`').enumerate() {
                let (open, close) = if at % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
                write!(f, "{open}{}{close}", Text(part))?;
            }
        }
        Ok(())
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn pretty(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned)
}

/// An operation, and where it stands.
#[derive(Clone, Copy)]
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    value: &'a Value,
}

struct Page<'a> {
    document: &'a Value,
}

impl<'a> Page<'a> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let info = &self.document["info"];
        let title = Text(text(info, "title"));
        writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>")?;
        writeln!(
            out,
            "<meta name=\"viewport\" content=\"width=device-width\">\n<style>{STYLE}</style>\n</head>\n<body>"
        )?;
        writeln!(out, "<h1>{title} {}</h1>\n<p>{}</p>", Text(text(info, "version")), Prose(info))?;
        writeln!(out, "<p>For programs: <a href=\"openapi.json\">openapi.json</a>.</p>")?;
        self.write_contents(out)?;
        for tag in items(&self.document["tags"]) {
            let name = text(tag, "name");
            writeln!(out, "<h2>{}</h2>\n<p>{}</p>", Text(name), Prose(tag))?;
            self.of_tag(name).try_for_each(|operation| self.write_operation(out, operation))?;
        }
        self.write_credentials(out)?;
        self.write_schemas(out)?;
        writeln!(out, "</body>\n</html>")
    }

    fn of_tag(&self, tag: &'a str) -> impl Iterator<Item = Operation<'a>> {
        let operations = entries(&self.document["paths"]).flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| Some(Operation { method, path, value: item.get(method)? }))
        });
        operations.filter(move |operation| items(&operation.value["tags"]).any(|name| name == tag))
    }

    fn write_contents(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "<nav>")?;
        for tag in items(&self.document["tags"]) {
            writeln!(out, "<p>{}</p>\n<ul>", Text(text(tag, "name")))?;
            for Operation { value, .. } in self.of_tag(text(tag, "name")) {
                let (id, summary) = (Text(text(value, "operationId")), Text(text(value, "summary")));
                writeln!(out, "<li><a href=\"#{id}\">{summary}</a></li>")?;
            }
            writeln!(out, "</ul>")?;
        }
        writeln!(out, "</nav>")
    }

    fn write_operation(&self, out: &mut String, operation: Operation<'_>) -> fmt::Result {
        let Operation { method, path, value } = operation;
        let (id, summary) = (Text(text(value, "operationId")), Text(text(value, "summary")));
        writeln!(out, "<h3 id=\"{id}\">{summary}</h3>")?;
        writeln!(out, "<p><code>{} {}</code></p>\n<p>{}</p>", method.to_uppercase(), Text(path), Prose(value))?;
        self.write_parameters(out, value)?;
        writeln!(out, "<h4>Example</h4>\n<pre>{}</pre>", Text(&self.curl(operation)))?;
        self.write_answers(out, value)
    }

    fn write_parameters(&self, out: &mut String, operation: &Value) -> fmt::Result {
        writeln!(out, "<h4>Request</h4>\n<table>")?;
        for parameter in items(&operation["parameters"]).map(|parameter| self.resolve(parameter)) {
            let (name, place) = (Text(text(parameter, "name")), Text(text(parameter, "in")));
            let (takes, prose) = (kind(&parameter["schema"]), Prose(parameter));
            writeln!(out, "<tr><th><code>{name}</code></th><td>{place}</td><td>{takes}</td><td>{prose}</td></tr>")?;
        }
        for (media, body) in entries(&operation["requestBody"]["content"]) {
            let (media, takes) = (Text(media), kind(&body["schema"]));
            writeln!(out, "<tr><th>body</th><td><code>{media}</code></td><td>{takes}</td><td></td></tr>")?;
        }
        writeln!(out, "</table>")
    }

    fn write_answers(&self, out: &mut String, operation: &Value) -> fmt::Result {
        writeln!(out, "<h4>Answers</h4>\n<table>")?;
        for (status, answer) in entries(&operation["responses"]) {
            let answer = self.resolve(answer);
            writeln!(out, "<tr><th>{}</th><td>{}</td><td>", Text(status), Prose(answer))?;
            for (media, body) in entries(&answer["content"]) {
                let (takes, prose) = (kind(&body["schema"]), Prose(&body["schema"]));
                writeln!(out, "<code>{}</code> {takes} {prose}<br>", Text(media))?;
            }
            for (name, header) in entries(&answer["headers"]) {
                writeln!(out, "<code>{}</code>: {}<br>", Text(name), Prose(self.resolve(header)))?;
            }
            writeln!(out, "</td></tr>")?;
        }
        writeln!(out, "</table>")?;
        for (_, answer) in entries(&operation["responses"]) {
            let bodies = entries(&self.resolve(answer)["content"]);
            for (_, example) in bodies.flat_map(|(_, body)| entries(&body["examples"])) {
                writeln!(out, "<pre>{}</pre>", Text(&pretty(&self.resolve(example)["value"])))?;
            }
        }
        Ok(())
    }

    /// Commands that send the operation, one for each example of a body.
    fn curl(&self, Operation { method, path, value }: Operation<'_>) -> String {
        let mut path = path.to_owned();
        for parameter in items(&value["parameters"]).map(|parameter| self.resolve(parameter)) {
            path = path.replace(&format!("{{{}}}", text(parameter, "name")), &pretty(&parameter["example"]));
        }
        let url = text(&self.document["servers"][0], "url").trim_end_matches('/');
        let url = if url.is_empty() { "http://localhost:8998" } else { url };
        let mut command = format!("curl -X {} '{url}{path}'", method.to_uppercase());
        if value.get("security").is_none() {
            command += " \\\n  -H \"Authorization: Bearer $TOKEN\"";
        }
        let examples: Vec<_> = entries(&value["requestBody"]["content"]["application/json"]["examples"]).collect();
        if examples.is_empty() {
            return command;
        }
        let body = |example| pretty(&self.resolve(example)["value"]).replace('\'', r"'\''");
        let send = |example| format!("{command} \\\n  -H 'Content-Type: application/json' -d '{}'", body(example));
        examples.into_iter().map(|(_, example)| send(example)).collect::<Vec<_>>().join("\n\n")
    }

    fn write_credentials(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "<h2>Credentials</h2>\n<table>")?;
        for (_, scheme) in entries(&self.document["components"]["securitySchemes"]) {
            writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", Text(text(scheme, "scheme")), Prose(scheme))?;
        }
        writeln!(out, "</table>")
    }

    fn write_schemas(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "<h2>Types</h2>")?;
        for (name, schema) in entries(&self.document["components"]["schemas"]) {
            let name = Text(name);
            writeln!(out, "<h3 id=\"type-{name}\">{name}</h3>\n<p>{}. {}</p>", kind(schema), Prose(schema))?;
            write_properties(out, schema)?;
        }
        Ok(())
    }

    /// What a reference leads to.
    fn resolve(&self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
        target.and_then(|target| self.document.pointer(target)).unwrap_or(value)
    }
}

fn write_properties(out: &mut String, schema: &Value) -> fmt::Result {
    if schema["properties"].is_null() {
        return Ok(());
    }
    writeln!(out, "<table>")?;
    for (name, property) in entries(&schema["properties"]) {
        let must = if items(&schema["required"]).any(|required| required == name) { "required" } else { "" };
        let (name, takes, prose) = (Text(name), kind(property), Prose(property));
        writeln!(out, "<tr><th><code>{name}</code></th><td>{takes}</td><td>{must}</td><td>{prose}")?;
        write_properties(out, property)?;
        writeln!(out, "</td></tr>")?;
    }
    writeln!(out, "</table>")
}

/// What a schema takes, in words.
fn kind(schema: &Value) -> String {
    if let Some(name) = text(schema, "$ref").rsplit_once('/').map(|(_, name)| Text(name)) {
        return format!("<a href=\"#type-{name}\">{name}</a>{}", bounds(schema));
    }
    let values: Vec<_> =
        items(&schema["enum"]).map(|value| format!("<code>{}</code>", Text(&value.to_string()))).collect();
    let mut words = match &schema["type"] {
        _ if !values.is_empty() => values.join(" or "),
        Value::String(kind) => Text(kind).to_string(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => items(&schema["anyOf"]).map(kind).collect::<Vec<_>>().join(" or "),
    };
    for (key, word) in [("items", "of"), ("additionalProperties", "of values"), ("propertyNames", "with keys")] {
        if schema[key].is_object() {
            let _ = write!(words, " {word} {}", kind(&schema[key]));
        }
    }
    words + &bounds(schema)
}

fn bounds(schema: &Value) -> String {
    let told = BOUNDS.iter().filter_map(|(key, word)| Some((word, schema.get(key)?)));
    let told: Vec<_> = told.map(|(word, value)| format!("{word}<code>{}</code>", Text(&pretty(value)))).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facade::docs::document;

    #[test]
    fn a_page_shows_every_operation_and_type_and_loads_nothing() {
        for extensions in [false, true] {
            let document = document(extensions, None).unwrap();
            let page = render(&document);
            for (path, item) in entries(&document["paths"]) {
                for (method, operation) in entries(item) {
                    assert!(METHODS.contains(&method.as_str()), "{method} {path} is on no page");
                    assert!(page.contains(&format!("<h3 id=\"{}\">", text(operation, "operationId"))));
                    assert!(page.contains(&format!("<code>{} {}</code>", method.to_uppercase(), Text(path))));
                }
            }
            for link in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let anchor = link.strip_prefix('#').map(|id| format!(" id=\"{id}\""));
                assert!(anchor.is_none_or(|anchor| page.contains(&anchor)), "{link} leads nowhere");
            }
            assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("url("));
        }
    }

    #[test]
    fn texts_of_the_document_are_texts_on_the_page() {
        let page = render(&json!({
            "info": { "title": "<b>&\"'", "description": "a `<i>`" },
            "tags": [{ "name": "<u>" }],
            "paths": { "/<s>": { "get": { "tags": ["<u>"], "summary": "<q>", "parameters": [{ "name": "<p>" }] } } }
        }));
        assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;") && page.contains("a <code>&lt;i&gt;</code>"));
        for tag in ["<b>", "<i>", "<u>", "<s>", "<q>"] {
            assert!(!page.contains(tag), "{tag}");
        }
    }

    #[test]
    fn commands_can_be_run() {
        let document = document(false, Some("https://spark.example/api")).unwrap();
        let page = render(&document);
        assert!(page.contains("curl -X GET &#39;https://spark.example/api/batches/14/state&#39; \\\n  -H &quot;Authorization: Bearer $TOKEN&quot;"));
        assert!(page.contains("-d &#39;{\n  &quot;args&quot;: ["));
        assert!(!page.contains("{id}&#39;") && !page.contains("null&#39;"));
    }
}
