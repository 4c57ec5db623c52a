// While a screen is shared, everybody gets the screen at its best, and cameras at their smallest; otherwise
// every track at its best. The router keeps all of it within what each network carries.
#include "screen_first.h"

#include <stdlib.h>

typedef exports_rillway_policy_layer_selection_view_t view_t;
typedef exports_rillway_policy_layer_selection_choice_t choice_t;
typedef exports_rillway_policy_layer_selection_subscription_t subscription_t;

bool exports_rillway_policy_lifecycle_start(screen_first_string_t *error) {
  (void)error; // No configuration, so nothing can be wrong with it.
  return true;
}

static bool is_screen(const view_t *view, uint64_t track) {
  for (size_t i = 0; i < view->tracks.len; i++)
    if (view->tracks.ptr[i].id == track)
      return view->tracks.ptr[i].source == RILLWAY_POLICY_TYPES_SOURCE_SCREEN;
  return false;
}

static bool any_screen(const view_t *view) {
  for (size_t i = 0; i < view->tracks.len; i++)
    if (view->tracks.ptr[i].source == RILLWAY_POLICY_TYPES_SOURCE_SCREEN)
      return true;
  return false;
}

void exports_rillway_policy_layer_selection_choose(view_t *view,
                                                   exports_rillway_policy_layer_selection_decision_t *decision) {
  exports_rillway_policy_layer_selection_list_choice_t *choices = &decision->choices;
  decision->next = EXPORTS_RILLWAY_POLICY_LAYER_SELECTION_SCOPE_WHOLE; // Small rooms: the whole view each time.
  size_t count = 0;
  for (size_t i = 0; i < view->subscribers.len; i++)
    count += view->subscribers.ptr[i].subscriptions.len;
  choices->len = 0;
  choices->ptr = count ? malloc(count * sizeof(choice_t)) : NULL;
  bool sharing = any_screen(view);
  for (size_t i = 0; choices->ptr && i < view->subscribers.len; i++) {
    for (size_t j = 0; j < view->subscribers.ptr[i].subscriptions.len; j++) {
      const subscription_t *wish = &view->subscribers.ptr[i].subscriptions.ptr[j];
      bool best = !sharing || is_screen(view, wish->track);
      choice_t *choice = &choices->ptr[choices->len++];
      choice->subscriber = view->subscribers.ptr[i].id;
      choice->track = wish->track;
      choice->spatial = best ? UINT8_MAX : 0; // The router takes the next lower layer that there is.
      choice->temporal = UINT8_MAX;
      choice->paused = wish->paused;
      screen_first_string_dup(&choice->reason, !sharing ? "nobody shares" : best ? "the screen" : "a screen is shared");
    }
  }
  exports_rillway_policy_layer_selection_view_free(view);
}
