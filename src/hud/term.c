/* Functions instead of macros, some of which need curses' ERR. */
#define NCURSES_NOMACROS 1
#include <curses.h>
/* The name is also that of base/status.h. */
#undef ERR

#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "hud/term.h"
#include "hud/term_guard.h"

#define ESCAPE_DELAY_MS 25
#define FIRST_PAIR      1

struct term {
    SCREEN *screen; /* owned */
    bool has_color;
};

/* What a handler needs to give the terminal back: it can reach nothing else. */
static struct termios saved_modes;
static volatile sig_atomic_t is_saved;
static struct term_guard guard;

static const int fatal_signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

/* Leaves the second screen, shows the cursor, no colours, no mouse. */
static const char restore[] = "\x1b[?1000l\x1b[?1006l\x1b[?1049l\x1b[0m\x1b[?25h\r\n";

static void on_fatal(int number)
{
    if (is_saved != 0) {
        term_guard_dismiss(&guard);
        (void)!write(STDOUT_FILENO, restore, sizeof(restore) - 1);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &saved_modes);
    }
    (void)raise(number); /* the handler was for once */
}

static void catch_fatal(bool is_on)
{
    struct sigaction action = {.sa_handler = is_on ? on_fatal : SIG_DFL,
                               .sa_flags = is_on ? (int)SA_RESETHAND : 0};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_COUNT(fatal_signals); i++)
        (void)sigaction(fatal_signals[i], &action, NULL);
}

bool term_is_there(void)
{
    const char *name = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && name != NULL && name[0] != '\0' &&
           strcmp(name, "dumb") != 0;
}

bool term_use_locale(void)
{
    locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    const char *all = getenv("LC_ALL");
    const char *type = getenv("LC_CTYPE");
    const char *lang = getenv("LANG");
    const char *name = all != NULL && all[0] != '\0'     ? all
                       : type != NULL && type[0] != '\0' ? type
                       : lang != NULL                    ? lang
                                                         : "";
    /* One that is not installed here, as behind ssh. */
    if (locale == (locale_t)0 && (strcasestr(name, "UTF-8") != NULL || strcasestr(name, "utf8")))
        locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (locale == (locale_t)0)
        return false;
    locale_t before = uselocale(locale);
    if (before != LC_GLOBAL_LOCALE) /* of an earlier call */
        freelocale(before);
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static void set_colors(struct term *term)
{
    static const short colors[] = {
#define X(name, color, attributes) color,
        CANVAS_STYLE_MAP(X)
#undef X
    };
    if (!term->has_color || start_color() != OK || !has_colors()) {
        term->has_color = false;
        return;
    }
    short background = use_default_colors() == OK ? -1 : COLOR_BLACK;
    for (short i = 0; i < (short)ARRAY_COUNT(colors); i++)
        if (colors[i] >= 0)
            (void)init_pair((short)(FIRST_PAIR + i), colors[i], background);
}

enum status term_open(const struct term_options *options, struct term **ret_term, struct err *err)
{
    struct term *term = calloc(1, sizeof(*term));
    if (term == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the screen");
    is_saved = tcgetattr(STDIN_FILENO, &saved_modes) == 0;
    /* Variables LINES and COLUMNS that somebody exported would outlast every change of the window.
     */
    (void)unsetenv("LINES");
    (void)unsetenv("COLUMNS");
    term->screen = newterm(NULL, stdout, stdin);
    if (term->screen == NULL) {
        is_saved = 0;
        free(term);
        return ERR(err, STATUS_UNSUPPORTED, "this terminal (TERM=%s) is not known here",
                   getenv("TERM"));
    }
    term->has_color = options->has_color;
    catch_fatal(true);
    if (is_saved != 0)
        term_guard_start(&guard, &saved_modes, restore, sizeof(restore) - 1);
    (void)cbreak();
    (void)noecho();
    (void)nonl();
    (void)keypad(stdscr, TRUE);
    (void)nodelay(stdscr, TRUE);
    (void)curs_set(0);
    (void)set_escdelay(ESCAPE_DELAY_MS);
    set_colors(term);
    if (options->has_mouse) {
        (void)mousemask(BUTTON1_CLICKED | BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED,
                        NULL);
        (void)mouseinterval(0);
    }
    *ret_term = term;
    return STATUS_OK;
}

void term_close(struct term *term)
{
    if (term == NULL)
        return;
    (void)endwin();
    term_guard_dismiss(&guard);
    term_guard_end(&guard);
    delscreen(term->screen);
    catch_fatal(false);
    is_saved = 0;
    free(term);
}

void term_size(const struct term *term, size_t *ret_rows, size_t *ret_columns)
{
    (void)term;
    *ret_rows = LINES > 0 ? (size_t)LINES : 0;
    *ret_columns = COLS > 0 ? (size_t)COLS : 0;
}

static attr_t attributes_of(const struct term *term, unsigned style, short *ret_pair)
{
    static const struct {
        short color;
        unsigned attributes;
    } styles[] = {
#define X(name, color, attributes) {color, attributes},
        CANVAS_STYLE_MAP(X)
#undef X
    };
    unsigned wanted = styles[style].attributes;
    *ret_pair = term->has_color && styles[style].color >= 0 ? (short)(FIRST_PAIR + style) : 0;
    return (wanted & 1 ? A_BOLD : 0) | (wanted & 2 ? A_DIM : 0) | (wanted & 4 ? A_REVERSE : 0);
}

void term_draw(struct term *term, const struct canvas *canvas)
{
    (void)erase();
    for (size_t i = 0; i < canvas->rows * canvas->columns; i++) {
        const struct canvas_char *from = &canvas->chars[i];
        cchar_t to;
        short pair = 0;
        attr_t attributes = attributes_of(term, from->style, &pair);
        const wchar_t text[2] = {(wchar_t)from->code, 0};
        if (from->code == ' ' && attributes == 0 && pair == 0)
            continue;
        if (setcchar(&to, text, attributes, pair, NULL) == OK)
            (void)mvadd_wch((int)(i / canvas->columns), (int)(i % canvas->columns), &to);
    }
    (void)refresh();
}

void term_forget(struct term *term)
{
    (void)term;
    (void)clearok(stdscr, TRUE);
}

static struct term_key take_mouse(void)
{
    MEVENT event;
    struct term_key key = {.key = HUD_KEY_NONE};
    if (getmouse(&event) != OK || event.x < 0 || event.y < 0)
        return key;
    key.row = (size_t)event.y;
    key.column = (size_t)event.x;
    if (event.bstate & BUTTON4_PRESSED)
        key.key = HUD_KEY_WHEEL_UP;
    else if (event.bstate & BUTTON5_PRESSED)
        key.key = HUD_KEY_WHEEL_DOWN;
    else if (event.bstate & (BUTTON1_PRESSED | BUTTON1_CLICKED))
        key.key = HUD_KEY_CLICK;
    return key;
}

struct term_key term_read_key(struct term *term)
{
    static const struct {
        wint_t code;
        uint32_t key;
    } named[] = {{KEY_UP, HUD_KEY_UP},
                 {KEY_DOWN, HUD_KEY_DOWN},
                 {KEY_LEFT, HUD_KEY_LEFT},
                 {KEY_RIGHT, HUD_KEY_RIGHT},
                 {KEY_PPAGE, HUD_KEY_PAGE_UP},
                 {KEY_NPAGE, HUD_KEY_PAGE_DOWN},
                 {KEY_HOME, HUD_KEY_HOME},
                 {KEY_END, HUD_KEY_END},
                 {KEY_RESIZE, HUD_KEY_RESIZE},
                 {KEY_ENTER, HUD_KEY_ENTER},
                 {KEY_BACKSPACE, HUD_KEY_BACKSPACE}};
    wint_t code = 0;
    (void)term;
    int kind = get_wch(&code);
    if (kind == OK)
        return (struct term_key){.key = (uint32_t)code};
    if (kind != KEY_CODE_YES)
        return (struct term_key){.key = HUD_KEY_NONE};
    if (code == KEY_MOUSE)
        return take_mouse();
    for (size_t i = 0; i < ARRAY_COUNT(named); i++)
        if (named[i].code == code)
            return (struct term_key){.key = named[i].key};
    return (struct term_key){.key = HUD_KEY_NONE};
}
