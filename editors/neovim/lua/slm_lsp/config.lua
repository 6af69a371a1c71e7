--- What the user may set, and whether it makes sense.

local M = {}

---@class slm_lsp.Config
M.defaults = {
  -- How the server is started; nil: `slm-lsp serve`, from $PATH or ~/.local/bin.
  cmd = nil, ---@type string[]?
  -- The server's own options, such as { automatic_budget_ms = 400 }; its README lists them.
  settings = {},
  -- A list of file types; nil: every file that has a type.
  filetypes = nil, ---@type string[]?
  disabled_filetypes = { 'gitcommit', 'gitrebase', 'help', 'man', 'qf', 'netrw', 'checkhealth' },
  root_markers = { '.git', '.hg', 'pyproject.toml', 'package.json', 'Cargo.toml', 'go.mod' },
  -- 'own' draws on every version; 'native' leaves it to vim.lsp.inline_completion (0.12); 'off'.
  ghost_text = 'own', ---@type 'own'|'native'|'off'
  -- Whether to ask while you type. If not, only `trigger` and `next` do.
  auto = true,
  debounce_ms = 30,
  -- No ghost text while Neovim's own popup menu is open.
  hide_with_popup = true,
  -- Whether the popup menu (blink.cmp, nvim-cmp, vim.lsp.completion) gets items of this server.
  popup = false,
  -- false for a key that is not to be mapped. Each does what it did before where nothing is shown.
  keymaps = {
    accept = '<Tab>',
    accept_word = '<M-Right>',
    accept_line = '<M-C-Right>',
    next = '<M-]>',
    previous = '<M-[>',
    dismiss = '<C-]>',
    trigger = '<M-\\>',
  },
}

M.current = vim.deepcopy(M.defaults)

local TYPES = {
  cmd = { 'table', 'nil' },
  settings = { 'table' },
  filetypes = { 'table', 'nil' },
  disabled_filetypes = { 'table' },
  root_markers = { 'table' },
  ghost_text = { 'string' },
  auto = { 'boolean' },
  debounce_ms = { 'number' },
  hide_with_popup = { 'boolean' },
  popup = { 'boolean' },
  keymaps = { 'table' },
}

--- What is wrong with the options, in words; empty where nothing is.
---@param opts table
---@return string[]
function M.problems(opts)
  local problems = {}
  for name, value in pairs(opts) do
    if not TYPES[name] then
      table.insert(problems, ('there is no option `%s`'):format(name))
    elseif not vim.tbl_contains(TYPES[name], type(value)) then
      local text = '`%s` must be a %s, not a %s'
      table.insert(problems, text:format(name, TYPES[name][1], type(value)))
    end
  end
  for name in pairs(type(opts.keymaps) == 'table' and opts.keymaps or {}) do
    if M.defaults.keymaps[name] == nil then
      table.insert(problems, ('there is no key `keymaps.%s`'):format(name))
    end
  end
  local ghost = opts.ghost_text
  if type(ghost) == 'string' and not vim.tbl_contains({ 'own', 'native', 'off' }, ghost) then
    table.insert(problems, "`ghost_text` must be 'own', 'native' or 'off'")
  end
  if ghost == 'native' and not vim.lsp.inline_completion then
    table.insert(problems, "`ghost_text = 'native'` needs Neovim 0.12")
  end
  table.sort(problems)
  return problems
end

--- Take the user's options. What is wrong is said and left at its default.
---@param opts table?
function M.set(opts)
  opts = opts or {}
  local problems = M.problems(opts)
  if #problems > 0 then
    local text = 'slm_lsp.setup: ' .. table.concat(problems, '; ') .. ' (see :help slm_lsp-options)'
    vim.notify(text, vim.log.levels.ERROR)
    opts = {}
  end
  M.current = vim.tbl_deep_extend('force', vim.deepcopy(M.defaults), opts)
end

--- The command that starts the server.
---@return string[]
function M.command()
  if M.current.cmd then
    return M.current.cmd
  end
  local at_home = vim.fn.expand('~/.local/bin/slm-lsp')
  if vim.fn.executable('slm-lsp') == 0 and vim.fn.executable(at_home) == 1 then
    return { at_home, 'serve' }
  end
  return { 'slm-lsp', 'serve' }
end

return M
