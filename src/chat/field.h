/*
 * field.h
 *		A place in the caller's JSON, and the errors that name it.
 *
 * A path is a chain of stack variables, one a level; its text is only made for
 * an error.
 */
#ifndef LLM_ROUTER_FIELD_H
#define LLM_ROUTER_FIELD_H

#include "base/errors.h"
#include "utils/jsonb.h"

typedef struct FieldPath
{
	const struct FieldPath *parent; /* or NULL */
	const char *member;			/* or NULL for an element */
	int			member_length;
	int			index;			/* of an element */
} FieldPath;

extern FieldPath field_member(const FieldPath *parent, const char *member);
extern FieldPath field_element(const FieldPath *parent, int index);

/* Set a 22023 error "path: text"; returns false. */
extern bool field_invalid(LlmError *error, const FieldPath *path, const char *format, ...)
			pg_attribute_printf(3, 4);

/* Types of JSON values, to be or'ed. */
#define FIELD_STRING	0x01
#define FIELD_NUMBER	0x02
#define FIELD_INTEGER	0x04
#define FIELD_BOOLEAN	0x08
#define FIELD_OBJECT	0x10
#define FIELD_ARRAY		0x20

/* What a field may be.  Only one of range and choices, or neither. */
typedef struct FieldRule
{
	const char *name;
	int			types;
	bool		ranged;
	int64		minimum;		/* of a number, when ranged */
	int64		maximum;
	const char *const *choices; /* of a string: NULL-terminated, or NULL */
	bool		(*check) (const JsonbValue *value, const FieldPath *path, LlmError *error);
} FieldRule;

/* Check a value that is not null. */
extern bool field_check(const FieldRule *rule, const JsonbValue *value,
						const FieldPath *path, LlmError *error);

/*
 * Check every member of an object against a table; null members are as if they
 * were absent.  An unknown one is an error that names the nearest valid name.
 */
extern bool field_check_object(const FieldRule *rules, int nrules, JsonbContainer *object,
							   const FieldPath *path, LlmError *error);

/*
 * Member that has to be a non-empty string; false with an error when it is
 * not.  *value is a pointer into the container.
 */
extern bool field_require_string(JsonbContainer *object, const char *name,
								 const FieldPath *path, JsonbValue **value, LlmError *error);

/* Member that has to be an object. */
extern bool field_require_object(JsonbContainer *object, const char *name,
								 const FieldPath *path, JsonbContainer **value,
								 LlmError *error);

#endif							/* LLM_ROUTER_FIELD_H */
