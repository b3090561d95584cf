/*
 * hwtlb: geometries as QAPI and as JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_TLB_HWTLB_QAPI_H
#define HW_TLB_HWTLB_QAPI_H

#include "hw/tlb/hwtlb.h"

/*
 * Reads a geometry from @json, a HwtlbConfig.  It has no name and no source,
 * and is not checked by hwtlb_config_valid() yet.  An error names the field.
 */
bool hwtlb_config_from_json(const char *json, HWTLBConfig *config,
                            Error **errp);

/* The geometry alone, on one line; to be freed. */
char *hwtlb_config_to_json(const HWTLBConfig *config);

/*
 * In which field @here differs from @saved: a message, to be freed; NULL if
 * they are the same geometry.
 */
char *hwtlb_config_difference(const HWTLBConfig *saved,
                              const HWTLBConfig *here);

#endif
