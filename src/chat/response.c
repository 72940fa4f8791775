/*
 * response.c
 *		The answer as callers get it.
 */
#include "chat/response.h"

#include "chat/json.h"
#include "utils/builtins.h"

/* The text parts of an array content, joined; NULL when there are none. */
static text *
text_of_parts(JsonbContainer *parts)
{
	JsonbIterator *iterator = json_iterate(parts);
	JsonbValue	   part;
	StringInfoData joined;
	bool		   found = false;

	initStringInfo(&joined);
	while (json_next_element(&iterator, &part))
	{
		JsonbContainer *object = json_value_object(&part);
		JsonbValue	   *value = object ? json_member(object, "text") : NULL;

		if (value == NULL || value->type != jbvString)
			continue;
		appendBinaryStringInfo(&joined, value->val.string.val, value->val.string.len);
		found = true;
	}
	return found ? cstring_to_text_with_len(joined.data, joined.len) : NULL;
}

text *
chat_response_text(Jsonb *response)
{
	JsonbContainer *choices = json_member_array(&response->root, "choices");
	JsonbValue	   *choice;
	JsonbContainer *message;
	JsonbValue	   *value;

	if (choices == NULL || JsonContainerSize(choices) == 0)
		return NULL;
	choice = getIthJsonbValueFromContainer(choices, 0);
	message = json_value_object(choice) ? json_member_object(json_value_object(choice), "message") : NULL;
	if (message == NULL)
		return NULL;

	value = json_member(message, "content");
	if (json_value_array(value))
		return text_of_parts(json_value_array(value));
	if (value == NULL || value->type != jbvString)
		value = json_member(message, "refusal");
	if (value == NULL || value->type != jbvString)
		return NULL;
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}
