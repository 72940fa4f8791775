/*
 * replicate_input.c
 *		The input of a model, whose members depend on its family.
 *
 * Members that a model does not know may be refused, so that only those are sent
 * that all of the family have.  options.router.extra adds others.
 */
#include "providers/replicate.h"

#include "chat/json.h"
#include "providers/openai.h"
#include "providers/parameters.h"
#include "providers/tools.h"

/* A number that the family knows, by OpenAI's name. */
typedef struct NumberRule
{
	const char *name;
	const char *minimum;
	const char *maximum;
} NumberRule;

typedef enum FamilyKind
{
	FAMILY_LLAMA,
	FAMILY_OPENAI,
	FAMILY_ANTHROPIC,
	FAMILY_GOOGLE
} FamilyKind;

typedef struct Family
{
	const char			*owner; /* of the models; NULL: all others */
	const NumberRule	*numbers;
	const char			*limit_member;	/* for the output limit */
	int64				 default_limit; /* where none is sent */
	ReplicatePromptStyle style;
} Family;

static const NumberRule llama_numbers[] = {
	{ "temperature", "0", "5" },
	{ "top_p", "0", "1" },
	{ "top_k", "0", NULL },
	{ "presence_penalty", NULL, NULL },
	{ "frequency_penalty", NULL, NULL },
	{ "seed", NULL, NULL },
	{ NULL, NULL, NULL },
};
static const NumberRule openai_numbers[] = {
	{ "temperature", "0", "2" },
	{ "top_p", "0", "1" },
	{ "presence_penalty", "-2", "2" },
	{ "frequency_penalty", "-2", "2" },
	{ NULL, NULL, NULL },
};
static const NumberRule google_numbers[] = {
	{ "temperature", "0", "2" },
	{ "top_p", "0", "1" },
	{ NULL, NULL, NULL },
};
static const NumberRule no_numbers[] = { { NULL, NULL, NULL } };

static const Family families[] = {
	[FAMILY_LLAMA] = {
		.numbers = llama_numbers,
		.limit_member = "max_tokens",
		.default_limit = 512,
		.style = { .system_member = "system_prompt" },
	},
	[FAMILY_OPENAI] = {
		.owner = "openai/",
		.numbers = openai_numbers,
		.limit_member = "max_completion_tokens",
		.default_limit = 4096,
		.style = { .messages = true },
	},
	[FAMILY_ANTHROPIC] = {
		.owner = "anthropic/",
		.numbers = no_numbers,
		.limit_member = "max_tokens",
		.default_limit = 8192,
		.style = { .system_member = "system_prompt", .image_member = "image" },
	},
	[FAMILY_GOOGLE] = {
		.owner = "google/",
		.numbers = google_numbers,
		.limit_member = "max_output_tokens",
		.default_limit = 65535,
		.style = { .system_member = "system_instruction", .image_member = "images", .many_images = true },
	},
};

/* What is known of the model that is asked. */
typedef struct Model
{
	const char		 *name; /* without owner and version */
	FamilyKind		  kind;
	const Family	 *family;
	OpenAiModelTraits traits; /* of OpenAI's */
	const char		 *limit_member;
	bool			  llama_3;
} Model;

static bool
begins(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

static Model
read_model(const char *full_name)
{
	Model model = { .kind = FAMILY_LLAMA };

	for (int i = 0; i < (int) lengthof(families); i++)
		if (families[i].owner && begins(full_name, families[i].owner))
			model.kind = (FamilyKind) i;
	model.family = &families[model.kind];
	model.name = strrchr(full_name, '/') ? strrchr(full_name, '/') + 1 : full_name;
	model.name = pnstrdup(model.name, strcspn(model.name, ":"));
	if (model.kind == FAMILY_OPENAI)
		model.traits = openai_model_traits(model.name);

	/* Older open models have the limit under another name. */
	model.limit_member = model.family->limit_member;
	if (begins(full_name, "meta/llama-2-") || begins(full_name, "meta/codellama-") ||
		begins(full_name, "mistralai/"))
		model.limit_member = "max_new_tokens";
	model.llama_3 = begins(full_name, "meta/meta-llama-3-") && strstr(model.name, "instruct");
	return model;
}

/* ------------------------------------------------------------------------
 * The output limit
 * ------------------------------------------------------------------------
 */

/*
 * What is sent where nothing was asked for; 0: nothing.  The open models stop
 * after 512 tokens by default, which is short.  Their window holds prompt and
 * output, so that half of it is as much as can be promised.
 */
static int64
unasked_limit(const Exchange *exchange, const Model *model)
{
	int64 half = exchange->model.max_output_tokens / 2;

	if (model->kind != FAMILY_LLAMA || half <= model->family->default_limit ||
		exchange->request->input_tokens > half)
		return 0;
	return Min(half, 4096);
}

static int64
limit_to_send(const Exchange *exchange, const Model *model)
{
	int64 asked = exchange->request->max_output_tokens;

	if (asked == 0)
		return unasked_limit(exchange, model);

	/* Claude's limit has bounds in the schema of these models. */
	if (model->kind == FAMILY_ANTHROPIC)
		return strstr(model->name, "haiku") ? Min(asked, 8192) : Min(Max(asked, 1024), 64000);
	return asked;
}

int64
replicate_output_limit(const Exchange *exchange)
{
	Model		model = read_model(exchange->model.name);
	Jsonb	   *extra = exchange->request->router.extra;
	JsonbValue *own = extra ? json_member(&extra->root, model.limit_member) : NULL;
	int64		limit;

	if (!json_value_int64(own, &limit))
		limit = limit_to_send(exchange, &model);
	if (limit == 0)
		limit = model.family->default_limit;
	if (exchange->model.max_output_tokens > 0)
		limit = Min(limit, exchange->model.max_output_tokens);
	return limit;
}

/* ------------------------------------------------------------------------
 * Writing
 * ------------------------------------------------------------------------
 */

typedef struct Writer
{
	JsonWriter		  *json;
	WireRequest		  *wire;
	const Exchange	  *exchange;
	const ChatRequest *request;
	Model			   model;
} Writer;

static void
write_limit(Writer *writer)
{
	int64 limit = limit_to_send(writer->exchange, &writer->model);

	if (limit == 0 || parameter_in_extra(writer->request, writer->model.limit_member))
		return;
	if (writer->request->max_output_tokens > 0 && limit != writer->request->max_output_tokens)
		wire_request_adjusted(writer->wire, "max_tokens");
	json_write_key(writer->json, writer->model.limit_member);
	json_write_int64(writer->json, limit);
}

/* OpenAI's reasoning models take none of the numbers. */
static const NumberRule *
numbers_of(const Model *model)
{
	return model->traits.reasons ? no_numbers : model->family->numbers;
}

static void
write_numbers(Writer *writer)
{
	for (const NumberRule *rule = numbers_of(&writer->model); rule->name; rule++)
	{
		int64 number;

		/* No limit, as others say it; the default here. */
		if (strcmp(rule->name, "top_k") == 0 &&
			json_value_int64(parameter(writer->request, rule->name), &number) && number <= 0)
			continue;
		parameter_write_number(writer->request, rule->name, rule->minimum, rule->maximum, rule->name,
							   writer->json, writer->wire);
	}
}

/* Append a stop to the list; false when the list cannot hold it. */
static bool
append_stop(StringInfo list, const JsonbValue *stop)
{
	if (stop->val.string.len == 0 || memchr(stop->val.string.val, ',', stop->val.string.len))
		return false;
	if (list->len > 0)
		appendStringInfoCharMacro(list, ',');
	appendBinaryStringInfo(list, stop->val.string.val, stop->val.string.len);
	return true;
}

/* One string with commas between: a stop that has a comma cannot be said. */
static void
write_stop(Writer *writer)
{
	JsonbValue	   *stop = parameter(writer->request, "stop");
	JsonbContainer *array = json_value_array(stop);
	JsonbIterator  *iterator = array ? json_iterate(array) : NULL;
	JsonbValue		element;
	StringInfoData	list;
	bool			all = true;

	if (stop == NULL || parameter_in_extra(writer->request, "stop_sequences"))
		return;
	initStringInfo(&list);
	if (array == NULL)
		all = append_stop(&list, stop);
	while (array && json_next_element(&iterator, &element))
		all = append_stop(&list, &element) && all;
	if (!all)
		wire_request_adjusted(writer->wire, "stop");
	if (list.len > 0)
		json_write_member_text(writer->json, "stop_sequences", list.data);
}

/* ------------------------------------------------------------------------
 * Effort and thinking
 * ------------------------------------------------------------------------
 */

/* reasoning_effort, in the words that these models have. */
static bool
write_openai_effort(Writer *writer, ReasoningEffort effort)
{
	static const char *const words[] = {
		[EFFORT_NONE] = "none",
		[EFFORT_MINIMAL] = "minimal",
		[EFFORT_LOW] = "low",
		[EFFORT_MEDIUM] = "medium",
		[EFFORT_HIGH] = "high",
	};
	const OpenAiModelTraits *traits = &writer->model.traits;
	ReasoningEffort			 least = EFFORT_LOW;
	ReasoningEffort			 sent;

	if (!traits->reasons)
		return false;
	if (traits->is_gpt)
		least = traits->samples_without_effort ? EFFORT_NONE : EFFORT_MINIMAL;
	sent = Min(Max(effort, least), EFFORT_HIGH);
	if (sent != effort)
		wire_request_adjusted(writer->wire, "reasoning_effort");
	json_write_member_text(writer->json, "reasoning_effort", words[sent]);
	return true;
}

/* Thoughts count as output, and need 1,024 tokens at least. */
static bool
write_claude_effort(Writer *writer, ReasoningEffort effort)
{
	static const int64 budgets[] = {
		[EFFORT_MINIMAL] = 1024,
		[EFFORT_LOW] = 2048,
		[EFFORT_MEDIUM] = 8192,
		[EFFORT_HIGH] = 16384,
		[EFFORT_XHIGH] = 32768,
		[EFFORT_MAX] = 63999,
	};
	const char *name = writer->model.name;
	int64		budget = Min(budgets[effort], replicate_output_limit(writer->exchange) * 3 / 4);

	if (strstr(name, "haiku") || (begins(name, "claude-3") && !begins(name, "claude-3.7")) || budget < 1024)
		return false;
	json_write_key(writer->json, "extended_thinking");
	json_write_bool(writer->json, true);
	json_write_key(writer->json, "thinking_budget_tokens");
	json_write_int64(writer->json, budget);
	return true;
}

/* thinking_budget, which Gemini 2.5 has; Pro cannot do without thinking. */
static bool
write_gemini_effort(Writer *writer, ReasoningEffort effort)
{
	static const int64 budgets[] = {
		[EFFORT_NONE] = 0,
		[EFFORT_MINIMAL] = 512,
		[EFFORT_LOW] = 1024,
		[EFFORT_MEDIUM] = 8192,
		[EFFORT_HIGH] = 24576,
		[EFFORT_XHIGH] = 24576,
		[EFFORT_MAX] = 24576,
	};
	int64 budget = budgets[effort];

	if (!begins(writer->model.name, "gemini-2.5"))
		return false;
	if (effort == EFFORT_NONE && begins(writer->model.name, "gemini-2.5-pro"))
	{
		budget = 128;
		wire_request_adjusted(writer->wire, "reasoning_effort");
	}
	json_write_key(writer->json, "thinking_budget");
	json_write_int64(writer->json, budget);
	return true;
}

/* Whether the effort was said, or need not be. */
static bool
write_known_effort(Writer *writer, ReasoningEffort effort)
{
	switch (writer->model.kind)
	{
		case FAMILY_OPENAI:
			return parameter_in_extra(writer->request, "reasoning_effort") ||
				   write_openai_effort(writer, effort) || effort == EFFORT_NONE;
		case FAMILY_ANTHROPIC:
			return parameter_in_extra(writer->request, "extended_thinking") || effort == EFFORT_NONE ||
				   write_claude_effort(writer, effort);
		case FAMILY_GOOGLE:
			return parameter_in_extra(writer->request, "thinking_budget") ||
				   write_gemini_effort(writer, effort) || effort == EFFORT_NONE;
		case FAMILY_LLAMA:
			return effort == EFFORT_NONE;
	}
	pg_unreachable();
}

static void
write_effort(Writer *writer)
{
	static const char *const names[] = { "reasoning_effort", "reasoning" };
	ReasoningEffort			 effort = parameter_reasoning_effort(writer->request);

	if (effort != EFFORT_UNSET && write_known_effort(writer, effort))
		return;
	for (int i = 0; i < (int) lengthof(names); i++)
		if (parameter(writer->request, names[i]))
			wire_request_dropped(writer->wire, names[i]);
}

static void
write_verbosity(Writer *writer)
{
	static const char *const words[] = { "low", "medium", "high" };
	JsonbValue				*verbosity = parameter(writer->request, "verbosity");

	if (verbosity == NULL || parameter_in_extra(writer->request, "verbosity"))
		return;
	for (int i = 0; i < (int) lengthof(words); i++)
		if (writer->model.traits.is_gpt && json_value_is(verbosity, words[i]))
		{
			json_write_member(writer->json, "verbosity", verbosity);
			return;
		}
	wire_request_dropped(writer->wire, "verbosity");
}

/* ------------------------------------------------------------------------
 * The whole
 * ------------------------------------------------------------------------
 */

/* Tools cannot be said; where none may be called, they need not be. */
static bool
refuse_tools(const ChatRequest *request, LlmError *error)
{
	ToolSet set;

	if (!tool_set_read(request, &set, error))
		return false;
	if (set.tools == NIL || set.choice == TOOLS_NONE)
		return true;
	return error_set(error, ERRCODE_LLM_BAD_REQUEST, "tools cannot be sent in this API format");
}

static void
note_dropped(Writer *writer)
{
	static const char *const always[] = {
		TOOL_PARAMETERS, "response_format", "reasoning_effort", "reasoning", "verbosity"
	};
	const char *read[32];
	int			count = 0;

	for (int i = 0; i < (int) lengthof(always); i++)
		read[count++] = always[i];
	for (const NumberRule *rule = numbers_of(&writer->model); rule->name; rule++)
		read[count++] = rule->name;
	if (writer->model.kind == FAMILY_LLAMA)
		read[count++] = "stop";
	read[count] = NULL;
	parameters_note_dropped(writer->request, read, writer->wire);

	/* It is asked for in words, which a model may not follow. */
	if (parameter_response_format(writer->request, NULL, NULL) != RESPONSE_TEXT)
		wire_request_adjusted(writer->wire, "response_format");
}

bool
replicate_write_input(const Exchange *exchange, JsonWriter *json, WireRequest *wire, LlmError *error)
{
	static const char *const of_the_body[] = { "webhook", "webhook_events_filter", NULL };
	ReplicatePromptStyle	 style;
	Writer					 writer = {
						  .json = json,
						  .wire = wire,
						  .exchange = exchange,
						  .request = exchange->request,
						  .model = read_model(exchange->model.name),
	};

	if (!refuse_tools(writer.request, error))
		return false;
	style = writer.model.family->style;
	style.llama_marks = writer.model.llama_3;
	if (writer.model.kind == FAMILY_ANTHROPIC && strstr(writer.model.name, "haiku"))
		style.image_member = NULL; /* the small ones see nothing here */
	json_write_begin(json, '{');
	if (!replicate_write_conversation(exchange, &style, json, error))
		return false;
	write_numbers(&writer);
	if (writer.model.kind == FAMILY_LLAMA)
		write_stop(&writer);
	write_limit(&writer);
	write_effort(&writer);
	write_verbosity(&writer);
	parameters_write_extra(writer.request, of_the_body, json);
	json_write_end(json, '}');
	note_dropped(&writer);
	return true;
}
