/* A libva driver without a GPU.
 *
 * It lists what a fixture file says (lines of "profile entrypoint" numbers, named by NEBULA_FAKE_VA), lets
 * configurations, surfaces and contexts be made, and fails everything that would need silicon.
 * So the enumeration, the choice, every failure and the fall back to software can be tested anywhere;
 * that a real GPU encodes correctly cannot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <va/va_backend.h>

#define ROWS 128

static struct { VAProfile profile; VAEntrypoint entrypoint; } rows[ROWS];
static int row_count;
static unsigned next_id = 1;

static void load_fixture(void)
{
	const char *path = getenv("NEBULA_FAKE_VA");
	FILE *file = path ? fopen(path, "r") : NULL;
	int profile, entrypoint;

	row_count = 0;
	if (!file)
		return;
	while (row_count < ROWS && fscanf(file, "%d %d", &profile, &entrypoint) == 2) {
		rows[row_count].profile = profile;
		rows[row_count].entrypoint = entrypoint;
		row_count++;
	}
	fclose(file);
}

static VAStatus unavailable(void) { return VA_STATUS_ERROR_OPERATION_FAILED; }
static VAStatus terminate(VADriverContextP c) { (void)c; return VA_STATUS_SUCCESS; }

static VAStatus profiles(VADriverContextP c, VAProfile *list, int *count)
{
	(void)c;
	*count = 0;
	for (int i = 0; i < row_count; i++) {
		int seen = 0;
		for (int j = 0; j < *count; j++)
			seen |= list[j] == rows[i].profile;
		if (!seen && *count < 64)
			list[(*count)++] = rows[i].profile;
	}
	return VA_STATUS_SUCCESS;
}

static VAStatus entrypoints(VADriverContextP c, VAProfile profile, VAEntrypoint *list, int *count)
{
	(void)c;
	*count = 0;
	for (int i = 0; i < row_count && *count < 16; i++)
		if (rows[i].profile == profile)
			list[(*count)++] = rows[i].entrypoint;
	return *count ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
}

static VAStatus attributes(VADriverContextP c, VAProfile p, VAEntrypoint e, VAConfigAttrib *list, int count)
{
	(void)c; (void)p; (void)e;
	for (int i = 0; i < count; i++) {
		switch (list[i].type) {
		case VAConfigAttribRTFormat: list[i].value = VA_RT_FORMAT_YUV420; break;
		case VAConfigAttribRateControl: list[i].value = VA_RC_CQP | VA_RC_CBR | VA_RC_VBR; break;
		case VAConfigAttribEncPackedHeaders: list[i].value = 31; break;
		case VAConfigAttribEncMaxRefFrames: list[i].value = 0x10003; break;
		case VAConfigAttribMaxPictureWidth:
		case VAConfigAttribMaxPictureHeight: list[i].value = 4096; break;
		default: list[i].value = VA_ATTRIB_NOT_SUPPORTED;
		}
	}
	return VA_STATUS_SUCCESS;
}

static VAStatus create_config(VADriverContextP c, VAProfile p, VAEntrypoint e, VAConfigAttrib *a, int n, VAConfigID *id)
{
	(void)c; (void)a; (void)n;
	for (int i = 0; i < row_count; i++) {
		if (rows[i].profile == p && rows[i].entrypoint == e) {
			*id = next_id++;
			return VA_STATUS_SUCCESS;
		}
	}
	return VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT;
}

static VAStatus destroy_config(VADriverContextP c, VAConfigID id) { (void)c; (void)id; return VA_STATUS_SUCCESS; }

static VAStatus create_surfaces(VADriverContextP c, unsigned f, unsigned w, unsigned h, VASurfaceID *ids, unsigned n,
				VASurfaceAttrib *a, unsigned an)
{
	(void)c; (void)f; (void)w; (void)h; (void)a; (void)an;
	for (unsigned i = 0; i < n; i++)
		ids[i] = next_id++;
	return VA_STATUS_SUCCESS;
}

static VAStatus destroy_surfaces(VADriverContextP c, VASurfaceID *ids, int n)
{
	(void)c; (void)ids; (void)n;
	return VA_STATUS_SUCCESS;
}

static VAStatus surface_attributes(VADriverContextP c, VAConfigID id, VASurfaceAttrib *list, unsigned *count)
{
	static const struct { VASurfaceAttribType type; int value; } known[3] = {
		{ VASurfaceAttribPixelFormat, VA_FOURCC_NV12 },
		{ VASurfaceAttribMaxWidth, 4096 },
		{ VASurfaceAttribMaxHeight, 4096 },
	};
	(void)c; (void)id;
	if (list) {
		memset(list, 0, sizeof(*list) * 3);
		for (int i = 0; i < 3; i++) {
			list[i].type = known[i].type;
			list[i].flags = VA_SURFACE_ATTRIB_GETTABLE | VA_SURFACE_ATTRIB_SETTABLE;
			list[i].value.type = VAGenericValueTypeInteger;
			list[i].value.value.i = known[i].value;
		}
	}
	*count = 3;
	return VA_STATUS_SUCCESS;
}

static VAStatus create_context(VADriverContextP c, VAConfigID f, int w, int h, int g, VASurfaceID *s, int n,
			       VAContextID *id)
{
	(void)c; (void)f; (void)w; (void)h; (void)g; (void)s; (void)n;
	*id = next_id++;
	return VA_STATUS_SUCCESS;
}

static VAStatus destroy_context(VADriverContextP c, VAContextID id) { (void)c; (void)id; return VA_STATUS_SUCCESS; }

static VAStatus image_formats(VADriverContextP c, VAImageFormat *list, int *count)
{
	(void)c;
	memset(list, 0, sizeof(*list));
	list[0].fourcc = VA_FOURCC_NV12;
	list[0].byte_order = VA_LSB_FIRST;
	list[0].bits_per_pixel = 12;
	*count = 1;
	return VA_STATUS_SUCCESS;
}

VAStatus __vaDriverInit_1_0(VADriverContextP c)
{
	struct VADriverVTable *v = c->vtable;
	void **entry = (void **)v;

	load_fixture();
	/* Every function that is not written here fails; the last ones are reserved and stay null. */
	for (size_t i = 0; i < sizeof(*v) / sizeof(void *) - 16; i++)
		entry[i] = (void *)unavailable;
	c->version_major = VA_MAJOR_VERSION;
	c->version_minor = VA_MINOR_VERSION;
	c->max_profiles = 64;
	c->max_entrypoints = 16;
	c->max_attributes = 64;
	c->max_image_formats = 4;
	c->max_subpic_formats = 4;
	c->max_display_attributes = 4;
	c->str_vendor = "fake driver of the tests";
	v->vaTerminate = terminate;
	v->vaQueryConfigProfiles = profiles;
	v->vaQueryConfigEntrypoints = entrypoints;
	v->vaGetConfigAttributes = attributes;
	v->vaCreateConfig = create_config;
	v->vaDestroyConfig = destroy_config;
	v->vaCreateSurfaces2 = create_surfaces;
	v->vaDestroySurfaces = destroy_surfaces;
	v->vaQuerySurfaceAttributes = surface_attributes;
	v->vaCreateContext = create_context;
	v->vaDestroyContext = destroy_context;
	v->vaQueryImageFormats = image_formats;
	return VA_STATUS_SUCCESS;
}
