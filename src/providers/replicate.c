/*
 * replicate.c
 *		The replicate format: predictions, as Replicate's API has them.
 *
 * There is no chat: a prediction runs a model with that model's own input.  One
 * is made by POST, and is done at once, or is looked at until it is; or its
 * output is streamed from an address that the answer names, and the prediction
 * looked at once more for what it used.
 *
 * "Prefer: wait=5" has the POST wait: short predictions are then done with its
 * answer.  It does not wait longer, because only a prediction whose id is known
 * can be cancelled, and the id comes with the answer to the POST.  A POST whose
 * answer is lost may have begun a prediction that runs to its end.
 */
#include "providers/replicate.h"

#include "chat/json.h"

#define DEFAULT_CHECK_PATH "/account"
#define WAIT_PREFERENCE	   "wait=5"

#define DEPLOYMENT_PREFIX "deployments/"
#define VERSION_LENGTH	  64

/* ------------------------------------------------------------------------
 * Which address makes a prediction
 * ------------------------------------------------------------------------
 */

static bool
is_version(const char *text)
{
	return strlen(text) == VERSION_LENGTH && strspn(text, "0123456789abcdef") == VERSION_LENGTH;
}

/* "owner/name", of characters that a URL takes as they are. */
static bool
is_owned_name(const char *text)
{
	const char *slash = strchr(text, '/');

	for (const char *c = text; *c; c++)
		if (IS_HIGHBIT_SET(*c) || (!isalnum((unsigned char) *c) && strchr("._-/", *c) == NULL))
			return false;
	return slash && slash > text && slash[1] && strchr(slash + 1, '/') == NULL &&
		   strstr(text, "..") == NULL;
}

/*
 * The path of a model's predictions, and the version that the body names, or
 * NULL: official models "owner/name", versions "owner/name:version", and
 * "deployments/owner/name".  False when the name is none of these.
 */
static bool
find_endpoint(const char *model, char **path, const char **version)
{
	const char *colon = strchr(model, ':');

	*version = NULL;
	if (colon || is_version(model))
	{
		*version = colon ? colon + 1 : model;
		*path = pstrdup("/predictions");
		return is_version(*version);
	}
	if (strncmp(model, DEPLOYMENT_PREFIX, strlen(DEPLOYMENT_PREFIX)) == 0)
	{
		*path = psprintf("/%s/predictions", model);
		return is_owned_name(model + strlen(DEPLOYMENT_PREFIX));
	}
	*path = psprintf("/models/%s/predictions", model);
	return is_owned_name(model);
}

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

/* Members of options.router.extra that are not the model's input. */
static void
write_webhooks(const ChatRequest *request, JsonWriter *writer)
{
	static const char *const names[] = { "webhook", "webhook_events_filter" };

	for (int i = 0; request->router.extra && i < (int) lengthof(names); i++)
	{
		JsonbValue *value = json_member(&request->router.extra->root, names[i]);

		if (value)
			json_write_member(writer, names[i], value);
	}
}

static bool
replicate_build_chat(Exchange *exchange, WireRequest *wire, LlmError *error)
{
	JsonWriter	writer = { 0 };
	const char *version;
	char	   *path;

	if (!find_endpoint(exchange->model.name, &path, &version))
		return error_set(error, ERRCODE_LLM_BAD_REQUEST,
						 "models of this API format are named owner/name, owner/name:version or "
						 "deployments/owner/name, not \"%s\"",
						 error_shown_name(exchange->model.name));
	wire_request_start(wire, exchange->endpoint, "POST", path);
	wire_request_add_constant_headers(wire, unconstify(void *, exchange->endpoint->rules));
	wire_request_add_header(wire, "Content-Type", "application/json");
	if (!exchange->request->streams)
		wire_request_add_header(wire, "Prefer", WAIT_PREFERENCE);

	writer.out = &wire->body;
	json_write_begin(&writer, '{');
	if (version)
		json_write_member_text(&writer, "version", version);
	json_write_key(&writer, "input");
	if (!replicate_write_input(exchange, &writer, wire, error))
		return false;
	if (exchange->request->streams)
	{
		json_write_key(&writer, "stream");
		json_write_bool(&writer, true);
	}
	write_webhooks(exchange->request, &writer);
	json_write_end(&writer, '}');
	return true;
}

static void
replicate_build_check(const ProviderEndpoint *endpoint, WireRequest *wire)
{
	wire_request_start(wire, endpoint, "GET",
					   endpoint->check_path ? endpoint->check_path : DEFAULT_CHECK_PATH);
}

const ApiFormat replicate_format = {
	.name = "replicate",
	.works_on = true,
	.read_rules = provider_read_headers,
	.build_chat = replicate_build_chat,
	.parse_chat = replicate_parse_chat,
	.parse_event = replicate_parse_event,
	.end_stream = replicate_end_stream,
	.build_check = replicate_build_check,
};
