/* The convolutions of our own, the best first. */
#include "own_direct.h"
#include "own_nested.h"
#include "own_wgrad.h"
#include "own_winograd.h"
#include "own_winograd_weights.h"

static const sn_own_conv *const own_list[] = {&own_winograd, &own_nested_source, &own_nested_result, &own_direct};
static const sn_own_wgrad *const own_wgrad_list[] = {&own_wgrad_winograd, &own_wgrad_few};
