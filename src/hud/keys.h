/* hud/keys.h - keys as numbers: characters are themselves (Unicode), others have names. */
#ifndef HUD_KEYS_H
#define HUD_KEYS_H

#define KEY_OTHER_BASE 0x110000U

enum hud_key {
    HUD_KEY_UP = KEY_OTHER_BASE,
    HUD_KEY_DOWN,
    HUD_KEY_LEFT,
    HUD_KEY_RIGHT,
    HUD_KEY_PAGE_UP,
    HUD_KEY_PAGE_DOWN,
    HUD_KEY_HOME,
    HUD_KEY_END,
    HUD_KEY_RESIZE,
    HUD_KEY_CLICK, /* struct term has where */
    HUD_KEY_WHEEL_UP,
    HUD_KEY_WHEEL_DOWN,
    HUD_KEY_NONE
};

#define HUD_KEY_ESCAPE    27U
#define HUD_KEY_ENTER     10U
#define HUD_KEY_BACKSPACE 127U

#endif
