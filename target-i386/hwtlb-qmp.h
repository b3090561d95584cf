/*
 * The hardware-TLB model of an x86 vCPU: what management sees of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_HWTLB_QMP_H
#define I386_HWTLB_QMP_H

#include "hw/tlb/hwtlb.h"

/*
 * The geometry that the properties of @cpu ask for, checked.  @name is what
 * messages call it, to be freed; NULL if no model is wanted.
 */
bool x86_hwtlb_config(const X86CPU *cpu, HWTLBConfig *config, char **name,
                      Error **errp);

#endif
