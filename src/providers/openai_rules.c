/*
 * openai_rules.c
 *		How requests differ between providers (data) and between OpenAI's own
 *		models (by name).
 */
#include "chat/json.h"
#include "providers/openai.h"
#include "utils/builtins.h"

const void *
openai_read_rules(Jsonb *document)
{
	OpenAiRules	   *rules = palloc0(sizeof(OpenAiRules));
	JsonbContainer *root;
	JsonbValue	   *temperature;
	int64			number;
	bool			image_detail = true;
	bool			stream_usage = true;

	root = &((Jsonb *) memcpy(palloc(VARSIZE(document)), document, VARSIZE(document)))->root;
	rules->max_tokens_field = json_member_string(root, "max_tokens_field");
	if (rules->max_tokens_field == NULL)
		rules->max_tokens_field = "max_tokens";
	rules->keeps_developer_role = json_value_is(json_member(root, "developer_role"), "keep");
	json_member_bool(root, "reasoning_models", &rules->reasoning_models);
	rules->rename = json_member_object(root, "rename");
	rules->drop = json_member_array(root, "drop");
	rules->only = json_member_array(root, "only");
	rules->drop_message_fields = json_member_array(root, "drop_message_fields");
	rules->keep_message_fields = json_member_array(root, "keep_message_fields");
	rules->reasoning_efforts = json_member_array(root, "reasoning_efforts");
	rules->headers = json_member_object(root, "headers");
	rules->query = json_member_object(root, "query");
	json_member_bool(root, "stream_usage", &stream_usage);
	rules->asks_for_usage = stream_usage;
	json_member_bool(root, "stop_as_array", &rules->stop_as_array);
	json_member_bool(root, "logprobs_as_integer", &rules->logprobs_as_integer);
	json_member_bool(root, "mark_prefix", &rules->marks_prefix);
	json_member_bool(root, "image_detail", &image_detail);
	rules->drops_image_detail = !image_detail;
	if (json_member_int64(root, "tool_call_id_length", &number))
		rules->tool_call_id_length = (int) number;
	if (json_member_int64(root, "max_n", &number))
		rules->max_n = (int) number;
	if (json_member_int64(root, "max_top_logprobs", &number))
		rules->max_top_logprobs = (int) number;
	temperature = json_member(root, "max_temperature");
	if (temperature && temperature->type == jbvNumeric)
		rules->max_temperature = temperature->val.numeric;
	return rules;
}

bool
openai_list_has(JsonbContainer *list, const char *name, int length)
{
	JsonbValue key = { .type = jbvString };

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = length;
	return list && findJsonbValueFromContainer(list, JB_FARRAY, &key) != NULL;
}

/*
 * OpenAI's reasoning models: "oN" and "oN-…"; "gpt-N", "gpt-N.M" and
 * "gpt-N[.M]-…" from 5 on, except the chat variants without a minor version
 * ("gpt-5-chat-latest").  They refuse the parameters of sampling; from gpt-5.1
 * on, only while they reason.  "stop" went with o3.
 */
OpenAiModelTraits
openai_model_traits(const char *model)
{
	OpenAiModelTraits traits = { .takes_stop = true };
	bool			  is_gpt = strncmp(model, "gpt-", 4) == 0;
	const char		 *version = model + (is_gpt ? 4 : 1);
	char			 *rest;
	long			  major;
	long			  minor = -1;

	if ((!is_gpt && *model != 'o') || *version < '0' || *version > '9')
		return traits;
	major = strtol(version, &rest, 10);
	if (is_gpt && rest[0] == '.' && rest[1] >= '0' && rest[1] <= '9')
		minor = strtol(rest + 1, &rest, 10);
	if (*rest != '\0' && *rest != '-')
		return traits;
	if (is_gpt && (major < 5 || (minor < 0 && strncmp(rest, "-chat", 5) == 0)))
		return traits;

	traits.reasons = true;
	traits.is_gpt = is_gpt;
	traits.takes_stop = !is_gpt && major < 3;
	traits.samples_without_effort = is_gpt && (major > 5 || minor >= 1);
	return traits;
}
