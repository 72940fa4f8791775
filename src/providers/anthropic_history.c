/*
 * anthropic_history.c
 *		The tool calls of a conversation and their ids.
 *
 * The provider takes ids of letters, digits, "_" and "-", each for one call only.
 * Other providers' ids, and those of OpenAI's older function calls, which are
 * names, are brought into that form; the same conversation always gives the same
 * ids, so that caches of prompts are hit.
 */
#include "providers/anthropic.h"

typedef struct SliceEntry
{
	Slice key;
	Slice value;
	char  status;
} SliceEntry;

#define SH_PREFIX				slice_map
#define SH_ELEMENT_TYPE			SliceEntry
#define SH_KEY_TYPE				Slice
#define SH_KEY					key
#define SH_HASH_KEY(table, key) slice_hash(key)
#define SH_EQUAL(table, a, b)	slice_equal(a, b)
#define SH_SCOPE				static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct ToolHistory
{
	slice_map_hash *sent;  /* the caller's id of a call to the one that was sent last for it */
	slice_map_hash *taken; /* ids that were sent */
	slice_map_hash *called;
	List		   *names; /* those in called, in their order */
	int				last_number;
};

ToolHistory *
tool_history_create(void)
{
	ToolHistory *history = palloc0(sizeof(ToolHistory));

	history->sent = slice_map_create(CurrentMemoryContext, 16, NULL);
	history->taken = slice_map_create(CurrentMemoryContext, 16, NULL);
	history->called = slice_map_create(CurrentMemoryContext, 16, NULL);
	return history;
}

static Slice
string_slice(const JsonbValue *value)
{
	if (value == NULL || value->type != jbvString)
		return (Slice){ "", 0 };
	return (Slice){ value->val.string.val, value->val.string.len };
}

static Slice
text_slice(const char *text)
{
	return (Slice){ text, (int) strlen(text) };
}

static char *
accepted_form(Slice id)
{
	char *form = id.length > 0 ? pnstrdup(id.data, id.length) : pstrdup("call");

	for (char *at = form; *at; at++)
		if (IS_HIGHBIT_SET(*at) || (!isalnum((unsigned char) *at) && *at != '_' && *at != '-'))
			*at = '_';
	return form;
}

Slice
tool_history_add(ToolHistory *history, const MessageToolCall *call)
{
	Slice		name = string_slice(&call->name);
	const char *form = accepted_form(string_slice(&call->id));
	Slice		id = text_slice(form);
	bool		found;

	/* Numbers only grow, so that all searches together are linear. */
	while (slice_map_lookup(history->taken, id))
		id = text_slice(psprintf("%s_%d", form, ++history->last_number));
	slice_map_insert(history->taken, id, &found);
	slice_map_insert(history->sent, string_slice(&call->id), &found)->value = id;

	slice_map_insert(history->called, name, &found);
	if (!found)
	{
		Slice *kept = palloc(sizeof(Slice));

		*kept = name;
		history->names = lappend(history->names, kept);
	}
	return id;
}

bool
tool_history_find(ToolHistory *history, const JsonbValue *id, Slice *sent)
{
	SliceEntry *entry = slice_map_lookup(history->sent, string_slice(id));

	if (entry == NULL)
		return false;
	*sent = entry->value;
	return true;
}

List *
tool_history_names(const ToolHistory *history)
{
	return history->names;
}
