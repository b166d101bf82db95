from tests.nvim.test_from_claudecode import *
def test_x(running: Start, agent: Connect, home: Home) -> None:
    path = home.write("a.py", OLD)
    wanted = {"keep_terminal_focus": True, "open_in_new_tab": True}
    editor = running("a.py", options={"terminal_cmd": "cat", **QUIETLY, "diff_opts": wanted}, columns=150)
    robot = agent(editor)
    window = terminal(editor)
    A = "return vim.tbl_map(function(a) return (a.group_name or '-')..' '..a.event..' '..tostring(a.pattern)..' '..tostring(a.buflocal)..' '..tostring(a.id) end, vim.api.nvim_get_autocmds({}))"
    for _ in range(3):
        before = editor.lua(A)
        verdict = propose(editor, robot, path)
        editor.wait_mode("t")
        editor.command("Pairside reject")
        gone(editor)
        editor.wait_mode("t")
        rest(editor)
        after = editor.lua(A)
        print([x for x in after if x not in before])
        print([x for x in before if x not in after])
    assert 0
