--- Completions of slm-lsp in Neovim; `:help slm_lsp` says how.

local M = { is_set_up = false }

--- What draws the ghost text.
local function drawer()
  local which = require('slm_lsp.config').current.ghost_text
  return require(which == 'native' and 'slm_lsp.native' or 'slm_lsp.typing')
end

--- Whether ghost text is shown at the cursor.
---@return boolean
function M.is_shown()
  return drawer().is_shown()
end

--- Whether the server has a part in the current buffer.
---@return boolean
function M.is_attached()
  return require('slm_lsp.client').get(vim.api.nvim_get_current_buf()) ~= nil
end

--- Accept the text that is shown.
---@return boolean whether there was one
function M.accept()
  return drawer().accept(function(rest)
    return rest
  end)
end

--- Accept its next word.
---@return boolean
function M.accept_word()
  return drawer().accept(require('slm_lsp.text').word)
end

--- Accept its next line.
---@return boolean
function M.accept_line()
  return drawer().accept(require('slm_lsp.text').line)
end

--- Show another text.
function M.next()
  drawer().cycle(1)
end

--- Show another text, the other way round.
function M.previous()
  drawer().cycle(-1)
end

--- Ask for texts now, with the longer budget.
function M.trigger()
  drawer().trigger()
end

--- Hide the text that is shown until something is typed.
---@return boolean
function M.dismiss()
  return drawer().dismiss()
end

--- The server's state in few words, for a statusline.
---@return string
function M.status()
  return require('slm_lsp.status').line()
end

--- An item as Neovim's own popup menu is to insert it, for `convert` of
--- |vim.lsp.completion.enable()| where you call that yourself.
---@param item table a CompletionItem
---@return table
function M.popup_item(item)
  return require('slm_lsp.popup').item(item)
end

---@param buf integer
---@param client vim.lsp.Client
local function attach(buf, client)
  local config = require('slm_lsp.config').current
  if config.popup then
    require('slm_lsp.popup').attach(buf, client)
  end
  if config.ghost_text == 'native' then
    require('slm_lsp.native').attach(buf)
  elseif vim.lsp.inline_completion then
    -- Two ghosts would stand in one place where the user has switched Neovim's own on.
    vim.lsp.inline_completion.enable(false, { client_id = client.id })
  end
  if config.ghost_text == 'own' then
    require('slm_lsp.typing').attach(buf)
  end
end

---@param group integer
local function watch(group)
  local function on_client(event, callback)
    vim.api.nvim_create_autocmd(event, {
      group = group,
      callback = function(args)
        local client = vim.lsp.get_client_by_id(args.data.client_id)
        if client and client.name == 'slm_lsp' then
          callback(args.buf, client)
        end
      end,
    })
  end
  on_client('LspAttach', attach)
  on_client('LspDetach', require('slm_lsp.typing').detach)
  require('slm_lsp.client').on_end = require('slm_lsp.typing').forget
end

--- Start the server for the files to complete in, draw its texts and map the keys.
---@param opts table? see |slm_lsp-options|
function M.setup(opts)
  if vim.fn.has('nvim-0.10') == 0 then
    vim.notify('slm_lsp needs Neovim 0.10 or newer', vim.log.levels.ERROR)
    return
  end
  local config = require('slm_lsp.config')
  config.set(opts)
  M.is_set_up = true
  local client_of = require('slm_lsp.client')
  local group = vim.api.nvim_create_augroup('slm_lsp', { clear = true })
  vim.api.nvim_create_autocmd('FileType', {
    group = group,
    callback = function(args)
      client_of.start(args.buf)
    end,
  })
  local ghost = require('slm_lsp.ghost')
  vim.api.nvim_create_autocmd('ColorScheme', { group = group, callback = ghost.highlight })
  ghost.highlight()
  watch(group)
  if config.current.ghost_text ~= 'off' then
    require('slm_lsp.keymaps').set()
  end
  for _, buf in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(buf) then
      client_of.start(buf)
    end
  end
end

return M
