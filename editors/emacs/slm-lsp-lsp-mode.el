;;; slm-lsp-lsp-mode.el --- slm-lsp as a server of lsp-mode  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Registers `slm-lsp serve' with lsp-mode as an add-on, which it starts beside
;; the main server of a language:
;;
;;   (with-eval-after-load 'lsp-mode (require 'slm-lsp-lsp-mode))
;;
;; The popup shows its completions among the others'.  Ghost text comes from
;; lsp-mode where it has `lsp-inline-completion-mode' (since December 2024), and
;; from `slm-lsp-mode' elsewhere; do not turn on both.

;;; Code:

(require 'lsp-mode)
(require 'slm-lsp-server)

(defcustom slm-lsp-lsp-mode-modes '(prog-mode conf-mode)
  "Major modes, and those that derive from them, in which lsp-mode starts slm-lsp."
  :type '(repeat symbol)
  :group 'slm-lsp)

(defun slm-lsp-lsp-mode--wanted-p (_file-name _mode)
  "Tell whether lsp-mode is to start slm-lsp in this buffer."
  (apply #'derived-mode-p slm-lsp-lsp-mode-modes))

(lsp-register-client
 (make-lsp-client
  :new-connection (lsp-stdio-connection (lambda () slm-lsp-command))
  :activation-fn #'slm-lsp-lsp-mode--wanted-p
  :add-on? t
  :priority -2
  :server-id 'slm-lsp
  :initialization-options (lambda () slm-lsp-initialization-options)))

(provide 'slm-lsp-lsp-mode)
;;; slm-lsp-lsp-mode.el ends here
