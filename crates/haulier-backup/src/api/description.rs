//! The description of the routes. They are alike for every kind of document, so it is put together from a table.

use serde_json::{Map, Value, json};
use utoipa::PartialSchema;
use utoipa::openapi::OpenApi;

use super::Fault;
use crate::model::Kind;

/// A route: method, path, what it does, the member or schema of its good answer, and its other answers.
struct Route {
    method: &'static str,
    path: String,
    about: String,
    good: (u16, Value),
    bad: &'static [u16],
    takes_body: bool,
    has_page: bool,
}

/// The description.
pub(crate) fn openapi() -> OpenApi {
    let mut paths = Map::new();
    for route in routes() {
        let (method, path, operation) = (route.method, route.path.clone(), operation(route));
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation;
    }
    let fault = serde_json::to_value(Fault::schema()).expect("a schema is JSON");
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Haulier backup API", "version": env!("CARGO_PKG_VERSION"),
            "description": "Freezer v1: what is to be backed up, when, and what was." },
        "paths": paths,
        "components": { "schemas": { "BackupFault": fault } },
    });
    serde_json::from_value(document).expect("the table is an OpenAPI document")
}

fn operation(route: Route) -> Value {
    let tag = "backup";
    let mut parameters: Vec<Value> = Vec::new();
    for part in route.path.split('/') {
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
        }
    }
    if route.has_page {
        for (name, about, minimum) in
            [("limit", "At most so many; 10 when absent", 1), ("offset", "Leave out so many", 0)]
        {
            parameters.push(json!({ "name": name, "in": "query", "required": false, "description": about,
                "schema": { "type": "integer", "format": "int64", "minimum": minimum } }));
        }
    }
    let mut responses = Map::new();
    let (status, schema) = route.good;
    let mut good = json!({ "description": if status == 204 { "Done" } else { "The answer" } });
    if !schema.is_null() {
        good["content"] = json!({ "application/json": { "schema": schema } });
    }
    responses.insert(status.to_string(), good);
    for status in route.bad {
        let fault = json!({ "$ref": "#/components/schemas/BackupFault" });
        responses.insert(
            status.to_string(),
            json!({ "description": meaning(*status),
            "content": { "application/json": { "schema": fault } } }),
        );
    }
    let mut operation = json!({
        "tags": [tag],
        "summary": route.about,
        "operationId": format!("backup_{}_{}", route.method, route.path.replace(['/', '{', '}'], "_").trim_matches('_')),
        "parameters": parameters,
        "responses": responses,
    });
    if route.takes_body {
        let schema = json!({ "type": "object", "additionalProperties": true });
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The body, a parameter or an identifier is wrong",
        401 => "Nobody said who is asking",
        403 => "It belongs to another user",
        404 => "The caller has no such document",
        405 => "A session has no such action",
        406 => "The sender does not take JSON",
        409 => "The client is registered already",
        413 => "The body is larger than 1 MiB",
        _ => "It failed",
    }
}

fn routes() -> Vec<Route> {
    let object = || json!({ "type": "object", "additionalProperties": true });
    let text = || json!({ "type": "string" });
    let members = |members: Value| json!({ "type": "object", "properties": members });
    let mut routes = Vec::new();
    let mut add = |method, path: String, about: String, good, bad, takes_body, has_page| {
        routes.push(Route { method, path, about, good, bad, takes_body, has_page });
    };
    add("get", "/v1".into(), "The home document".into(), (200, object()), &[], false, false);
    add("get", "/v1/health".into(), "Whether the server answers".into(), (200, Value::Null), &[], false, false);
    for kind in Kind::ALL {
        let (name, all) = (kind.as_str(), format!("/v1/{}", kind.plural()));
        let one = format!("{all}/{{id}}");
        let listed = members(json!({ kind.plural(): { "type": "array", "items": object() } }));
        add(
            "get",
            all.clone(),
            format!("Lists {}; a body filters", kind.plural()),
            (200, listed),
            &[400, 401, 406, 413],
            true,
            true,
        );
        let made: &[u16] = match kind {
            Kind::Client => &[400, 401, 406, 409, 413],
            Kind::Action => &[400, 401, 403, 406, 413],
            _ => &[400, 401, 406, 413],
        };
        let made_answer = members(json!({ kind.id_member(): text() }));
        add("post", all, format!("Keeps a new {name}"), (201, made_answer), made, true, false);
        add("get", one.clone(), format!("One {name}"), (200, object()), &[401, 404, 406, 413], false, false);
        add("delete", one.clone(), format!("Forgets a {name}"), (204, Value::Null), &[401, 406, 413], false, false);
        if matches!(kind, Kind::Backup | Kind::Client) {
            continue;
        }
        let version =
            || members(json!({ kind.id_member(): text(), "version": { "type": "integer", "format": "int64" } }));
        add(
            "post",
            one.clone(),
            format!("Puts a {name}, over what was there"),
            (201, version()),
            &[400, 401, 403, 406, 413],
            true,
            false,
        );
        add("patch", one, format!("Merges into a {name}"), (200, version()), &[400, 401, 404, 406, 413], true, false);
    }
    let result = members(json!({ "result": text() }));
    add(
        "post",
        "/v1/jobs/{id}/event".into(),
        "Asks a job to start, stop or abort".into(),
        (202, result),
        &[400, 401, 404, 406, 413],
        true,
        false,
    );
    let result = members(json!({ "result": text(), "session_tag": { "type": "integer", "format": "int64" } }));
    add(
        "post",
        "/v1/sessions/{id}/action".into(),
        "Starts or ends one job's part of a session".into(),
        (202, result),
        &[400, 401, 404, 405, 406, 413],
        true,
        false,
    );
    for (method, about) in [("put", "Takes a job into a session"), ("delete", "Takes a job out of a session")] {
        add(
            method,
            "/v1/sessions/{id}/jobs/{job_id}".into(),
            about.into(),
            (204, Value::Null),
            &[401, 404, 406, 413],
            false,
            false,
        );
    }
    routes
}
