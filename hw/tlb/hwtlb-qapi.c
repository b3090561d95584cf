/*
 * hwtlb: geometries as QAPI and as JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One structure, HwtlbConfig, is what query-hwtlb-presets prints, what a
 * configuration file contains and what a saved VM tells of its TLBs.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-hwtlb.h"
#include "qapi/qapi-visit-hwtlb.h"
#include "qapi/qobject-input-visitor.h"
#include "qapi/qobject-output-visitor.h"
#include "qapi/util.h"
#include "qemu/host-utils.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "hw/tlb/hwtlb-qapi.h"

/* Both lists have the same order, so that values are the same. */
QEMU_BUILD_BUG_ON(HWTLB_CLASS__MAX != (int)HWTLB_CLASSES);
QEMU_BUILD_BUG_ON(HWTLB_CLASS_64K_LEAF != (int)HWTLB_64K_LEAF);
QEMU_BUILD_BUG_ON(HWTLB_POLICY__MAX != (int)HWTLB_POLICIES);
QEMU_BUILD_BUG_ON(HWTLB_POLICY_TREE_PLRU != (int)HWTLB_TREE_PLRU);
QEMU_BUILD_BUG_ON(HWTLB_HASH__MAX != (int)HWTLB_HASHES);
QEMU_BUILD_BUG_ON(HWTLB_HASH_XOR != (int)HWTLB_XOR);

/* An array that has ways is in use. */
static HwtlbLevel *level_to_qapi(const HWTLBArrayConfig *arrays)
{
    HwtlbLevel *level = g_new0(HwtlbLevel, 1);
    HwtlbArrayList **tail = &level->arrays;

    for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
        HwtlbArray *array;
        HwtlbClassList **classes;

        if (!arrays[a].ways) {
            continue;
        }
        array = g_new0(HwtlbArray, 1);
        *array = (HwtlbArray) {
            .sets = arrays[a].sets,
            .ways = arrays[a].ways,
            .policy = (HwtlbPolicy)arrays[a].policy,
            .has_hash = true,
            .hash = (HwtlbHash)arrays[a].hash,
            .source = g_strdup(arrays[a].source),
        };
        classes = &array->classes;
        for (int class = 0; class < HWTLB_CLASSES; class++) {
            if (arrays[a].classes >> class & 1) {
                QAPI_LIST_APPEND(classes, (HwtlbClass)class);
            }
        }
        QAPI_LIST_APPEND(tail, array);
    }
    return level;
}

static HwtlbPwcArray *pwc_to_qapi(const HWTLBArrayConfig *pwc)
{
    HwtlbPwcArray *array;

    if (!pwc->ways) {
        return NULL;
    }
    array = g_new0(HwtlbPwcArray, 1);
    *array = (HwtlbPwcArray) {
        .sets = pwc->sets,
        .ways = pwc->ways,
        .policy = (HwtlbPolicy)pwc->policy,
        .has_hash = true,
        .hash = (HwtlbHash)pwc->hash,
        .source = g_strdup(pwc->source),
    };
    return array;
}

static HwtlbConfig *config_to_qapi(const HWTLBConfig *config)
{
    HwtlbConfig *qapi = g_new0(HwtlbConfig, 1);

    *qapi = (HwtlbConfig) {
        .name = g_strdup(config->name),
        .about = g_strdup(config->about),
        .l1d = level_to_qapi(config->arrays[HWTLB_L1D]),
        .l1i = level_to_qapi(config->arrays[HWTLB_L1I]),
        .stlb = level_to_qapi(config->arrays[HWTLB_STLB]),
        .pwc = g_new0(HwtlbPwc, 1),
        .has_coalesce = true,
        .coalesce = MAX(config->coalesce, 1),
    };
    *qapi->pwc = (HwtlbPwc) {
        .pml4e = pwc_to_qapi(&config->pwc[HWTLB_PWC_PML4E]),
        .pdpte = pwc_to_qapi(&config->pwc[HWTLB_PWC_PDPTE]),
        .pde = pwc_to_qapi(&config->pwc[HWTLB_PWC_PDE]),
    };
    return qapi;
}

HwtlbConfigList *qmp_query_hwtlb_presets(Error **errp)
{
    HwtlbConfigList *list = NULL, **tail = &list;

    for (unsigned i = 0; hwtlb_preset_at(i); i++) {
        QAPI_LIST_APPEND(tail, config_to_qapi(hwtlb_preset_at(i)));
    }
    return list;
}

char *hwtlb_config_to_json(const HWTLBConfig *config)
{
    HWTLBConfig plain = *config;
    g_autoptr(HwtlbConfig) qapi = NULL;
    g_autoptr(GString) json = NULL;
    QObject *object;
    Visitor *v;

    plain.name = plain.about = NULL;
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
            plain.arrays[l][a].source = NULL;
        }
    }
    for (int id = 0; id < HWTLB_PWCS; id++) {
        plain.pwc[id].source = NULL;
    }
    qapi = config_to_qapi(&plain);
    v = qobject_output_visitor_new(&object);
    visit_type_HwtlbConfig(v, NULL, &qapi, &error_abort);
    visit_complete(v, &object);
    visit_free(v);
    json = qobject_to_json(object);
    qobject_unref(object);
    return g_strdup(json->str);
}

/*
 * The visitor says which field is missing or has a wrong type; which others
 * there could be, and which words a field knows, it does not.
 */
static char *words_of(const QEnumLookup *lookup)
{
    GString *words = g_string_new(lookup->array[0]);

    for (int i = 1; i < lookup->size; i++) {
        g_string_append_printf(words, ", %s", lookup->array[i]);
    }
    return g_string_free(words, false);
}

static bool check_word(QObject *value, const QEnumLookup *lookup,
                       const char *path, Error **errp)
{
    QString *string = qobject_to(QString, value);
    g_autofree char *words = NULL;

    if (!string ||
        qapi_enum_parse(lookup, qstring_get_str(string), -1, NULL) >= 0) {
        return true;
    }
    words = words_of(lookup);
    error_setg(errp, "%s is '%s', must be one of: %s", path,
               qstring_get_str(string), words);
    return false;
}

/* @names: those that @dict may have, with ", " between them. */
static bool check_fields(const QDict *dict, const char *names,
                         const char *path, Error **errp)
{
    g_auto(GStrv) known = g_strsplit(names, ", ", -1);

    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        if (!g_strv_contains((const char *const *)known, qdict_entry_key(e))) {
            error_setg(errp, "%s%s%s: there is no such field; there are: %s",
                       path, *path ? "." : "", qdict_entry_key(e), names);
            return false;
        }
    }
    return true;
}

static bool check_array(QObject *object, bool pwc, const char *path,
                        Error **errp)
{
    QDict *dict = qobject_to(QDict, object);
    g_autofree char *policy = g_strdup_printf("%s.policy", path);
    g_autofree char *hash = g_strdup_printf("%s.hash", path);
    QList *classes;
    QListEntry *entry;
    unsigned i = 0, seen = 0;

    if (!dict) {
        return true;
    }
    if (!check_fields(dict, pwc ? "sets, ways, policy, hash, source" :
                      "sets, ways, classes, policy, hash, source", path,
                      errp) ||
        !check_word(qdict_get(dict, "policy"), &HwtlbPolicy_lookup, policy,
                    errp) ||
        !check_word(qdict_get(dict, "hash"), &HwtlbHash_lookup, hash, errp)) {
        return false;
    }
    classes = qobject_to(QList, qdict_get(dict, "classes"));
    if (!classes) {
        return true;
    }
    QLIST_FOREACH_ENTRY(classes, entry) {
        QObject *value = qlist_entry_obj(entry);
        g_autofree char *where = g_strdup_printf("%s.classes[%u]", path, i++);
        int class;

        if (!check_word(value, &HwtlbClass_lookup, where, errp)) {
            return false;
        }
        if (!qobject_to(QString, value)) {
            return true;        /* the visitor's to say */
        }
        class = qapi_enum_parse(&HwtlbClass_lookup,
                                qstring_get_str(qobject_to(QString, value)),
                                -1, &error_abort);
        if (seen >> class & 1) {
            error_setg(errp, "%s is '%s' a second time", where,
                       HwtlbClass_str(class));
            return false;
        }
        seen |= 1u << class;
    }
    return true;
}

static bool check_words(const QDict *dict, Error **errp)
{
    QDict *pwc = qobject_to(QDict, qdict_get(dict, "pwc"));

    if (!check_fields(dict, "name, about, l1d, l1i, stlb, pwc, coalesce", "",
                      errp)) {
        return false;
    }
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        const char *name = hwtlb_level_names[l];
        QDict *level = qobject_to(QDict, qdict_get(dict, name));
        QList *arrays;
        QListEntry *entry;
        unsigned i = 0;

        if (!level) {
            continue;
        }
        if (!check_fields(level, "arrays", name, errp)) {
            return false;
        }
        arrays = qobject_to(QList, qdict_get(level, "arrays"));
        if (!arrays) {
            continue;
        }
        QLIST_FOREACH_ENTRY(arrays, entry) {
            g_autofree char *path = g_strdup_printf("%s.arrays[%u]", name,
                                                    i++);

            if (!check_array(qlist_entry_obj(entry), false, path, errp)) {
                return false;
            }
        }
    }
    if (!pwc) {
        return true;
    }
    if (!check_fields(pwc, "pml4e, pdpte, pde", "pwc", errp)) {
        return false;
    }
    for (int id = 0; id < HWTLB_PWCS; id++) {
        g_autofree char *path = g_strdup_printf("pwc.%s",
                                                hwtlb_pwc_names[id]);

        if (!check_array(qdict_get(pwc, hwtlb_pwc_names[id]), true, path,
                         errp)) {
            return false;
        }
    }
    return true;
}

/*
 * What hwtlb_config_valid() can be asked about.  An array that is all 0 would
 * be one that is not there.
 */
static bool check_number(int64_t n, const char *path, const char *field,
                         Error **errp)
{
    if (n < 1 || n > UINT32_MAX) {
        error_setg(errp, "%s.%s is %" PRId64 ", must be at least 1%s", path,
                   field, n, n < 1 ? "" : ", and not that large");
        return false;
    }
    return true;
}

static bool level_from_qapi(HwtlbLevel *level, HWTLBLevelId l,
                            HWTLBConfig *config, Error **errp)
{
    unsigned a = 0;

    for (HwtlbArrayList *e = level->arrays; e; e = e->next, a++) {
        g_autofree char *path = g_strdup_printf("%s.arrays[%u]",
                                                hwtlb_level_names[l], a);

        if (a >= HWTLB_MAX_ARRAYS) {
            error_setg(errp, "%s: a level has at most %d arrays", path,
                       HWTLB_MAX_ARRAYS);
            return false;
        }
        if (!check_number(e->value->sets, path, "sets", errp) ||
            !check_number(e->value->ways, path, "ways", errp)) {
            return false;
        }
        config->arrays[l][a] = (HWTLBArrayConfig) {
            .sets = e->value->sets,
            .ways = e->value->ways,
            .policy = (HWTLBPolicy)e->value->policy,
            .hash = (HWTLBHash)(e->value->has_hash ? e->value->hash : 0),
        };
        for (HwtlbClassList *c = e->value->classes; c; c = c->next) {
            config->arrays[l][a].classes |= 1u << c->value;
        }
    }
    return true;
}

static bool pwc_from_qapi(const HwtlbPwcArray *array, HWTLBPwcId id,
                          HWTLBConfig *config, Error **errp)
{
    g_autofree char *path = g_strdup_printf("pwc.%s", hwtlb_pwc_names[id]);

    if (!array) {
        return true;
    }
    if (!check_number(array->sets, path, "sets", errp) ||
        !check_number(array->ways, path, "ways", errp)) {
        return false;
    }
    config->pwc[id] = (HWTLBArrayConfig) {
        .sets = array->sets,
        .ways = array->ways,
        .policy = (HWTLBPolicy)array->policy,
        .hash = (HWTLBHash)(array->has_hash ? array->hash : 0),
    };
    return true;
}

bool hwtlb_config_from_json(const char *json, HWTLBConfig *config,
                            Error **errp)
{
    g_autoptr(HwtlbConfig) qapi = NULL;
    QObject *object = qobject_from_json(json, errp);
    QDict *dict = qobject_to(QDict, object);
    Visitor *v;
    bool good;

    if (!object) {
        return false;
    }
    if (!dict) {
        error_setg(errp, "must be a JSON object, { ... }");
        qobject_unref(object);
        return false;
    }
    good = check_words(dict, errp);
    if (good) {
        v = qobject_input_visitor_new(object);
        good = visit_type_HwtlbConfig(v, NULL, &qapi, errp);
        visit_free(v);
    }
    qobject_unref(object);
    *config = (HWTLBConfig) { };
    if (!good ||
        !level_from_qapi(qapi->l1d, HWTLB_L1D, config, errp) ||
        !level_from_qapi(qapi->l1i, HWTLB_L1I, config, errp) ||
        !level_from_qapi(qapi->stlb, HWTLB_STLB, config, errp)) {
        return false;
    }
    if (qapi->pwc &&
        (!pwc_from_qapi(qapi->pwc->pml4e, HWTLB_PWC_PML4E, config, errp) ||
         !pwc_from_qapi(qapi->pwc->pdpte, HWTLB_PWC_PDPTE, config, errp) ||
         !pwc_from_qapi(qapi->pwc->pde, HWTLB_PWC_PDE, config, errp))) {
        return false;
    }
    if (qapi->has_coalesce && (qapi->coalesce < 1 || qapi->coalesce > 16)) {
        error_setg(errp, "coalesce is %" PRId64 ", must be 1, 2, 4, 8 or 16",
                   qapi->coalesce);
        return false;
    }
    config->coalesce = qapi->has_coalesce ? qapi->coalesce : 1;
    return true;
}

static char *array_difference(const HWTLBArrayConfig *saved,
                              const HWTLBArrayConfig *here)
{
    if (saved->sets != here->sets) {
        return g_strdup_printf("sets is %u there, %u here", saved->sets,
                               here->sets);
    }
    if (saved->ways != here->ways) {
        return g_strdup_printf("ways is %u there, %u here", saved->ways,
                               here->ways);
    }
    if (saved->policy != here->policy) {
        return g_strdup_printf("policy is %s there, %s here",
                               hwtlb_policy_names[saved->policy],
                               hwtlb_policy_names[here->policy]);
    }
    if (saved->hash != here->hash) {
        return g_strdup_printf("hash is %s there, %s here",
                               hwtlb_hash_names[saved->hash],
                               hwtlb_hash_names[here->hash]);
    }
    if (saved->classes != here->classes) {
        int class = ctz32(saved->classes ^ here->classes);
        bool there = saved->classes >> class & 1;

        return g_strdup_printf("classes: %s is %sthere, %shere",
                               hwtlb_class_names[class], there ? "" : "not ",
                               there ? "not " : "");
    }
    return NULL;
}

char *hwtlb_config_difference(const HWTLBConfig *saved,
                              const HWTLBConfig *here)
{
    unsigned saved_coalesce = MAX(saved->coalesce, 1);
    unsigned here_coalesce = MAX(here->coalesce, 1);

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
            g_autofree char *what = array_difference(&saved->arrays[l][a],
                                                     &here->arrays[l][a]);

            if (what) {
                return g_strdup_printf("%s.arrays[%d].%s",
                                       hwtlb_level_names[l], a, what);
            }
        }
    }
    for (int id = 0; id < HWTLB_PWCS; id++) {
        g_autofree char *what = array_difference(&saved->pwc[id],
                                                 &here->pwc[id]);

        if (what) {
            return g_strdup_printf("pwc.%s.%s", hwtlb_pwc_names[id], what);
        }
    }
    if (saved_coalesce != here_coalesce) {
        return g_strdup_printf("coalesce is %u there, %u here",
                               saved_coalesce, here_coalesce);
    }
    return NULL;
}
