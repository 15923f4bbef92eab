"""The patterns of texts in the API, each with what to say of a text that doesn't match it."""

from collections.abc import Mapping

DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
QUEUE_PATTERN = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
HTTP_PATTERN = r"^https?://[!-?A-~]+$"
HTTPS_PATTERN = r"^https://[!-?A-~]+$"
TRACKER_PATTERN = r"^https?://[!\"$&->A-\[\]-~]+$"
TITLE_PATTERN = r"^[^\x00-\x1f\x7f]+$"
MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_. -]*(@[A-Za-z][A-Za-z0-9_-]*)?$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
LABEL_VALUE_PATTERN = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
TAINT_KEY_PATTERN = rf"^$|{LABEL_KEY_PATTERN}"
ENV_NAME_PATTERN = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
ABSOLUTE_PATH_PATTERN = r"^/[^:]*$"
WORKING_DIR_PATTERN = r"^[^:$\x00-\x1f]+$"
IMAGE_PATTERN = r"^[!-~]+$"
ENTRYPOINT_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_./:-]*$"
GIT_REF_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
FILE_PATTERN = r"^[^/].*$"
INPUT_NAME_PATTERN = r"^[a-z][a-z0-9-]*$"
_VERSION = r"(===|~=|==|!=|<=|>=|<|>) *[^ \t\r\n,;()=<>]+"
_NAMED = rf"[A-Za-z0-9][A-Za-z0-9._-]* *(\[[A-Za-z0-9._, -]*\])? *(\(?{_VERSION}( *, *{_VERSION})*\)?|@ *[^ \t\r\n]+)?"
REQUIREMENT_PATTERN = rf"^({_NAMED}|(\.\.?/|/|[a-z][a-z+]*://|\$\{{)[^ \t\r\n]+|\.|--?[a-z].*)( *;.*| +--.*)?$"
URI_PREFIX_PATTERN = r"^(s3|gs|az|file)://[^%?#@\x00-\x20\x7f]*$"
HTTPS_PREFIX_PATTERN = r"^https://[a-z0-9\[{][^%?#@\\\x00-\x20\x7f]*$"
HTTP_PREFIX_PATTERN = r"^https?://[a-z0-9\[{][^%?#@\\\x00-\x20\x7f]*$"
IMAGE_PREFIX_PATTERN = r"^[a-z0-9{][a-z0-9._/:@{}+-]*$"
NAME_OR_STEM_PATTERN = r"^([*]|[a-z0-9{]([-a-z0-9.{}]*([a-z0-9}]|[-a-z0-9.][*]))?)$"
KEY_OR_STEM_PATTERN = r"^([*]|[A-Za-z0-9]([-A-Za-z0-9_./]*([A-Za-z0-9]|[-A-Za-z0-9_./][*]))?)$"
KEY_OR_PAIR_PATTERN = (
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
    r"(=(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?)?$"
)

_DNS_WORDS = "must be lower-case letters, digits and '-'{}, and begin and end with a letter or digit"
PATTERN_WORDS: Mapping[str, str] = {
    DNS_LABEL_PATTERN: _DNS_WORDS.format(""),
    QUEUE_PATTERN: _DNS_WORDS.format(" or '.'"),
    DNS_SUBDOMAIN_PATTERN: _DNS_WORDS.format(" or '.'"),
    HTTP_PATTERN: "must be an http:// or https:// address without blanks, '@' or credentials",
    HTTPS_PATTERN: "must be an https:// address without blanks, '@' or credentials",
    TRACKER_PATTERN: "must be an http:// or https:// address without blanks, '@', '%', '?', '#' or '\\\\': credentials "
    "belong into the Secret of secretRef",
    TITLE_PATTERN: "must have no control characters",
    MODEL_NAME_PATTERN: "must be a name such as sentiment, or one with an alias such as sentiment@champion",
    LABEL_KEY_PATTERN: "must be a name such as team, or one with a prefix such as example.com/team",
    LABEL_VALUE_PATTERN: "must be letters, digits, '-', '_' or '.', and begin and end with a letter or digit",
    TAINT_KEY_PATTERN: "must be a name such as team, or one with a prefix such as example.com/team",
    SHA256_PATTERN: "must be 64 lower-case hexadecimal digits",
    ENV_NAME_PATTERN: "must be letters, digits, '_', '-' or '.', and not begin with a digit",
    ABSOLUTE_PATH_PATTERN: "must be an absolute path without ':'",
    WORKING_DIR_PATTERN: "must be a path without ':' and '$': nothing is expanded in it",
    IMAGE_PATTERN: "must be an image's name without blanks, such as registry.example.com/team/trainer:1",
    ENTRYPOINT_PATTERN: "must be a script, module or function, such as train.py, package.module or package.module:main",
    GIT_REF_PATTERN: "must be a commit, tag or branch, and begin with a letter or digit",
    FILE_PATTERN: "must be a name such as optimizer.pt, or a path in the output folder such as logs/*.tmp",
    INPUT_NAME_PATTERN: "must be lower-case letters, digits and '-', and begin with a letter",
    REQUIREMENT_PATTERN: "must be a line of a requirements file, such as transformers==4.57.1, ./mine.whl or "
    "-r requirements.txt",
    URI_PREFIX_PATTERN: "must begin with s3://, gs://, az:// or file://, and has no blank, '%', '?', '#' or '@'",
    HTTPS_PREFIX_PATTERN: "must begin with https:// and a host in lower case, and has no blank, '%', '?', '#' or '@'",
    HTTP_PREFIX_PATTERN: "must begin with http:// or https:// and a host in lower case, and has no blank, '%', '?', "
    "'#' or '@'",
    IMAGE_PREFIX_PATTERN: "must be a registry, a repository or an image in lower case, such as "
    "registry.example.com/team",
    NAME_OR_STEM_PATTERN: "must be a name such as s3, or the beginning of names with a '*' at its end, such as team-*",
    KEY_OR_STEM_PATTERN: "must be a key such as example.com/team, or the beginning of keys with a '*' at its end, such "
    "as example.com/*",
    KEY_OR_PAIR_PATTERN: "must be a node's label such as gpu, or one with its value such as gpu=h100",
}
