//! Helpers for describing routes: the error answer shared by routes that belong to no contract.

use serde::{Deserialize, Serialize};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// `{"error": {"code": …, "message": …}}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// A name for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// The kind of error, such as `not_found`.
    #[schema(example = "not_found")]
    pub code: String,
    /// One readable sentence.
    pub message: String,
}

/// Describes an error answer whose JSON body is the type `Body`, inlined.
pub fn error_response<Body: PartialSchema>(description: &str) -> Response {
    describe(description, Body::schema())
}

/// Describes an error answer by a reference to the component schema `name`.
pub fn error_response_ref(description: &str, name: &str) -> Response {
    describe(description, RefOr::Ref(Ref::from_schema_name(name)))
}

fn describe(description: &str, schema: RefOr<utoipa::openapi::Schema>) -> Response {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content("application/json", content).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_names_its_members() {
        let text = serde_json::to_value(error_response::<ErrorDetail>("no such thing")).unwrap();
        assert_eq!(text["description"], "no such thing");
        let members = &text["content"]["application/json"]["schema"]["properties"];
        assert!(members["code"].is_object() && members["message"].is_object(), "{text}");
    }
}
