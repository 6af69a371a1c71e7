--- `:checkhealth slm_lsp`

local client_of = require('slm_lsp.client')
local config = require('slm_lsp.config')

local M = {}

local PATIENCE_MS = 30000

local function check_neovim()
  local version = tostring(vim.version())
  if vim.fn.has('nvim-0.10') == 0 then
    vim.health.error('Neovim ' .. version .. ' is too old', { 'Install Neovim 0.10 or newer' })
  else
    vim.health.ok('Neovim ' .. version)
  end
end

local function check_server()
  local cmd = config.command()
  if vim.fn.executable(cmd[1]) == 0 then
    vim.health.error(('`%s` is not a program'):format(cmd[1]), {
      'Install slm-lsp',
      "or say where it is: require('slm_lsp').setup({ cmd = { '/path/to/slm-lsp', 'serve' } })",
    })
    return
  end
  vim.health.ok('the server is started by `' .. table.concat(cmd, ' ') .. '`')
  if cmd[#cmd] ~= 'serve' or #cmd ~= 2 then
    return
  end
  local ok, found = pcall(function()
    return vim.system({ cmd[1], 'doctor' }, { text = true }):wait(PATIENCE_MS)
  end)
  if not ok then
    vim.health.error(('`%s doctor` cannot be run: %s'):format(cmd[1], found))
  else
    local report = found.code == 0 and vim.health.info or vim.health.error
    report(('`%s doctor` says:\n%s'):format(cmd[1], vim.trim(found.stdout .. found.stderr)))
  end
end

local function check_clients()
  local clients = vim.lsp.get_clients({ name = 'slm_lsp' })
  if #clients == 0 then
    vim.health.info('no server is running: it starts with the first file of a type to complete in')
  end
  for _, client in ipairs(clients) do
    local status = client_of.statuses[client.id] or {}
    local text = 'client %d: %s, model %s, %d files'
    local n_files = vim.tbl_count(client.attached_buffers)
    vim.health.ok(text:format(client.id, status.state or '?', status.model or '?', n_files))
  end
end

local function check_keys()
  for action, key in pairs(config.current.keymaps) do
    if key and not require('slm_lsp.keymaps').is_ours(key) then
      vim.health.warn(('%s, to %s, is mapped by something else'):format(key, action), {
        'Call setup() after that mapping is made: the key then does both',
        ('or choose another: keymaps = { %s = … }'):format(action),
      })
    end
  end
end

function M.check()
  vim.health.start('slm_lsp')
  check_neovim()
  check_server()
  if not require('slm_lsp').is_set_up then
    vim.health.warn('setup() was not called', { "Call require('slm_lsp').setup()" })
    return
  end
  check_clients()
  check_keys()
end

return M
