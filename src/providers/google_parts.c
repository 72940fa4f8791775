/*
 * google_parts.c
 *		Writing the parts of messages: texts, and media by their data or by the
 *		places from which the API fetches them.
 */
#include "providers/google.h"

#define FILES_URL "https://generativelanguage.googleapis.com/v1beta/"

/* The types of media that the API reads, by the ends of their names. */
static const struct
{
	const char *extension;
	const char *mime_type;
} media_types[] = {
	{ "png", "image/png" },
	{ "jpg", "image/jpeg" },
	{ "jpeg", "image/jpeg" },
	{ "webp", "image/webp" },
	{ "heic", "image/heic" },
	{ "heif", "image/heif" },
	{ "gif", "image/gif" },
	{ "wav", "audio/wav" },
	{ "mp3", "audio/mp3" },
	{ "aiff", "audio/aiff" },
	{ "aac", "audio/aac" },
	{ "ogg", "audio/ogg" },
	{ "flac", "audio/flac" },
	{ "m4a", "audio/m4a" },
	{ "mp4", "video/mp4" },
	{ "mpeg", "video/mpeg" },
	{ "mpg", "video/mpg" },
	{ "mov", "video/mov" },
	{ "avi", "video/avi" },
	{ "flv", "video/x-flv" },
	{ "webm", "video/webm" },
	{ "wmv", "video/wmv" },
	{ "3gp", "video/3gpp" },
	{ "pdf", "application/pdf" },
	{ "json", "application/json" },
	{ "txt", "text/plain" },
	{ "md", "text/markdown" },
	{ "html", "text/html" },
	{ "htm", "text/html" },
	{ "css", "text/css" },
	{ "csv", "text/csv" },
	{ "xml", "text/xml" },
	{ "rtf", "text/rtf" },
};

static const char *
type_of_extension(Slice extension)
{
	for (int i = 0; i < (int) lengthof(media_types); i++)
		if (extension.length == (int) strlen(media_types[i].extension) &&
			pg_strncasecmp(extension.data, media_types[i].extension, extension.length) == 0)
			return media_types[i].mime_type;
	return NULL;
}

/* The type that the name of a file, or a URL without its query, ends with; or NULL. */
static const char *
type_of_name(Slice name)
{
	int end = 0;
	int start;

	while (end < name.length && name.data[end] != '?' && name.data[end] != '#')
		end++;
	for (start = end; start > 0 && name.data[start - 1] != '.'; start--)
		if (name.data[start - 1] == '/')
			return NULL;
	return start > 0 ? type_of_extension((Slice){ name.data + start, end - start }) : NULL;
}

static bool
begins_with(Slice slice, const char *prefix)
{
	int length = (int) strlen(prefix);

	return slice.length > length && pg_strncasecmp(slice.data, prefix, length) == 0;
}

void
google_write_text(JsonWriter *writer, const char *text, int length)
{
	json_write_begin(writer, '{');
	json_write_key(writer, "text");
	json_write_string(writer, text, length);
	json_write_end(writer, '}');
}

static void
write_inline_data(JsonWriter *writer, Slice mime_type, Slice base64)
{
	/* A common slip, which the API refuses. */
	if (slice_is(mime_type, "image/jpg"))
		mime_type = (Slice){ "image/jpeg", 10 };
	json_write_begin(writer, '{');
	json_write_key(writer, "inlineData");
	json_write_begin(writer, '{');
	json_write_key(writer, "mimeType");
	json_write_string(writer, mime_type.data, mime_type.length);
	json_write_key(writer, "data");
	json_write_string(writer, base64.data, base64.length);
	json_write_end(writer, '}');
	json_write_end(writer, '}');
}

/* What the API can fetch by itself: its own files, Cloud Storage, and videos. */
static bool
is_fetched(Slice url)
{
	static const char *const places[] = {
		FILES_URL "files/",
		"gs://",
		"https://www.youtube.com/",
		"https://youtube.com/",
		"https://youtu.be/",
	};

	for (int i = 0; i < (int) lengthof(places); i++)
		if (begins_with(url, places[i]))
			return true;
	return false;
}

static void
write_file_data(JsonWriter *writer, const char *mime_type, const char *base, Slice uri)
{
	char *whole = psprintf("%s%.*s", base, uri.length, uri.data);

	json_write_begin(writer, '{');
	json_write_key(writer, "fileData");
	json_write_begin(writer, '{');
	if (mime_type)
		json_write_member_text(writer, "mimeType", mime_type);
	json_write_member_text(writer, "fileUri", whole);
	json_write_end(writer, '}');
	json_write_end(writer, '}');
}

static bool
write_image(JsonWriter *writer, const MessagePart *part, LlmError *error)
{
	if (part->url.data == NULL)
		write_inline_data(writer, part->mime_type, part->base64);
	else if (is_fetched(part->url))
		write_file_data(writer, type_of_name(part->url), "", part->url);
	else
		return error_set(error, ERRCODE_LLM_BAD_REQUEST,
						 "an image at a URL cannot be sent in this API format: send its data");
	return true;
}

static bool
write_audio(JsonWriter *writer, const MessagePart *part, LlmError *error)
{
	const char *mime_type = type_of_extension(part->format);

	if (mime_type == NULL || strncmp(mime_type, "audio/", 6) != 0)
		return error_set(error, ERRCODE_LLM_BAD_REQUEST,
						 "audio of this format cannot be sent in this API format");
	write_inline_data(writer, (Slice){ mime_type, (int) strlen(mime_type) }, part->base64);
	return true;
}

/* A file that the provider has: "files/NAME", or where it is. */
static bool
write_stored_file(JsonWriter *writer, Slice place, Slice name, LlmError *error)
{
	const char *mime_type = name.data ? type_of_name(name) : NULL;

	if (mime_type == NULL)
		mime_type = type_of_name(place);
	if (begins_with(place, "files/"))
		write_file_data(writer, mime_type, FILES_URL, place);
	else if (is_fetched(place))
		write_file_data(writer, mime_type, "", place);
	else
		return error_set(error, ERRCODE_LLM_BAD_REQUEST,
						 "a file by its id cannot be sent in this API format, but for one of the Files API");
	return true;
}

static bool
write_file(JsonWriter *writer, const MessagePart *part, LlmError *error)
{
	Slice		mime_type = part->mime_type;
	const char *known = "application/pdf"; /* what files are, if nothing is said of them */

	if (part->base64.data == NULL)
		return write_stored_file(writer, part->file_id, part->file_name, error);
	if (begins_with(part->base64, "https://") || begins_with(part->base64, "gs://"))
		return write_stored_file(writer, part->base64, part->file_name, error);
	if (mime_type.length == 0 && part->file_name.length > 0)
		known = type_of_name(part->file_name);
	if (mime_type.length == 0 && known == NULL)
		return error_set(error, ERRCODE_LLM_BAD_REQUEST,
						 "a file cannot be sent in this API format without its type: send a data URL");
	if (mime_type.length == 0)
		mime_type = (Slice){ known, (int) strlen(known) };
	write_inline_data(writer, mime_type, part->base64);
	return true;
}

bool
google_write_part(JsonWriter *writer, const MessagePart *part, LlmError *error)
{
	switch (part->kind)
	{
		case PART_TEXT:
			google_write_text(writer, part->text.data, part->text.length);
			return true;
		case PART_IMAGE:
			return write_image(writer, part, error);
		case PART_AUDIO:
			return write_audio(writer, part, error);
		case PART_FILE:
			return write_file(writer, part, error);
	}
	pg_unreachable();
}
