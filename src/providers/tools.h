/*
 * tools.h
 *		The tools of a request and how they are to be chosen.
 *
 * Reads OpenAI's tools and tool_choice in all their forms, and the older
 * functions and function_call.
 */
#ifndef LLM_ROUTER_TOOLS_H
#define LLM_ROUTER_TOOLS_H

#include "providers/provider.h"

typedef struct ChatTool
{
	JsonbValue		name;
	JsonbValue	   *description; /* a string, or NULL */
	JsonbContainer *parameters;	 /* JSON Schema, or NULL for none */
	bool			strict;
	JsonbContainer *object; /* the tool as given, for members of one provider */
} ChatTool;

typedef enum ToolChoice
{
	TOOLS_AUTO, /* also where nothing is said */
	TOOLS_NONE,
	TOOLS_REQUIRED,
	TOOLS_NAMED
} ToolChoice;

typedef struct ToolSet
{
	List	  *tools; /* of ChatTool *; NIL: no tools, and the rest means nothing */
	ToolChoice choice;
	JsonbValue chosen; /* the name, for TOOLS_NAMED */
	bool	   serial; /* parallel_tool_calls is false */
} ToolSet;

/*
 * Read them.  Of "allowed_tools" only the allowed ones are kept.  False with an
 * error (OUTCOME_UNSUPPORTED) for custom tools, which only OpenAI knows.
 */
extern bool tool_set_read(const ChatRequest *request, ToolSet *set, LlmError *error);

/* The parameters that tool_set_read reads; for parameters_note_dropped's list. */
#define TOOL_PARAMETERS "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"

#endif /* LLM_ROUTER_TOOLS_H */
